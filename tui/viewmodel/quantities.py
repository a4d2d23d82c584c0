"""What can be drawn as a curve: metrics of an epoch, and what they are drawn over.

The metrics, their titles and their order are those of `engine.metrics.registry`.
"""

from dataclasses import dataclass, replace

from batchscope.engine.analysis.figures import Along
from batchscope.engine.metrics.epoch_metrics import Figure, Sum
from batchscope.engine.metrics.metric import EpochMetric
from batchscope.engine.metrics.registry import CURVES, EPOCH


@dataclass(frozen=True, slots=True)
class Quantity:
    """A metric of an epoch as a curve.

    Args:
        name, tab: its name, and the same in a word.
        test: the metric of the solid curve.
        train: the metric of the dashed curve, if any.
        steep: whether the beginning is far from the rest.
        share: whether it is a fraction, shown with four decimals.
        sized: whether it counts images, so that the batch sizes are drawn for comparison.
        held_out: whether only sweeps that hold out validation images have it.
    """

    name: str
    tab: str
    test: Figure
    train: Figure | None = None
    steep: bool = False
    share: bool = False
    sized: bool = False
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class XQuantity:
    """A quantity on the x axis; `planned` says whether the budget determines its end."""

    along: Along
    name: str
    planned: bool = True


def _quantity(metric: EpochMetric) -> Quantity:
    """Return the curve of a metric that has one."""
    curve, figure = metric.curve, metric.figure
    assert curve is not None
    assert figure is not None
    return Quantity(
        name=curve.title or metric.title,
        tab=curve.tab or metric.tab,
        test=figure,
        train=EPOCH[curve.twin].figure if curve.twin else None,
        steep=curve.steep,
        share=metric.is_accuracy,
        sized=curve.sized,
        held_out=curve.held_out,
    )


_BY_METRIC = {metric.name: _quantity(metric) for metric in CURVES}
QUANTITIES = tuple(_BY_METRIC.values())
ACCURACY, DISTANCE = _BY_METRIC["test_accuracy"], _BY_METRIC["distance_from_init"]
ERROR = replace(
    ACCURACY,
    test=Sum(1.0, test_accuracy=-1.0),
    train=Sum(1.0, train_accuracy=-1.0),
)
"""1 − accuracy, drawn in place of accuracy on a logarithmic axis."""
AXLES = (
    XQuantity("epochs", "epochs"),
    XQuantity("steps", "steps"),
    XQuantity("samples", "samples"),
    XQuantity("seconds", "seconds of training", planned=False),
    XQuantity("distance", "distance from init", planned=False),
)

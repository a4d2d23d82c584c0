"""What can be drawn as a curve: metrics of an epoch, and what they are drawn over.

The metrics, their titles and their order are those of `engine.metrics.registry`.
"""

from dataclasses import dataclass, replace

from batchscope.engine.analysis.figures import Along
from batchscope.engine.journal.headline import ACCURACY as ACCURACY_NAME
from batchscope.engine.journal.headline import LOSS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.epoch_metrics import Figure, Sum
from batchscope.engine.metrics.metric import EpochMetric
from batchscope.engine.metrics.primary_metric import Part, PrimaryMetric
from batchscope.engine.metrics.registry import CURVES, EPOCH
from batchscope.engine.metrics.task_metrics import Named


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
        part: the data of the solid curve, where there is a dashed one.
        better: which direction is better, where the name does not say it.
    """

    name: str
    tab: str
    test: Figure
    train: Figure | None = None
    steep: bool = False
    share: bool = False
    sized: bool = False
    held_out: bool = False
    part: Part = "test"
    better: str = ""

    @property
    def heading(self) -> str:
        """The name, with the direction that is better: `mae, lower is better`."""
        return f"{self.name}, {self.better} is better" if self.better else self.name


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


_OF_ACCURACY = ("test_accuracy", "generalization_gap", "validation_accuracy")


def quantities_of(state: SweepState, primary: PrimaryMetric) -> tuple[Quantity, ...]:
    """Return what can be drawn as curves of a sweep, the metric by which it is told first.

    Of a task these are its own metrics instead of an accuracy that it does not have; the first one
    has no name before the task's function has been run.
    """
    tasks = [each.settings.task for each in state.configurations.values()]
    if not tasks or None in tasks:
        return QUANTITIES
    own = dict(pair for task in tasks if task and task.facts for pair in task.facts.metrics)
    named = list(dict.fromkeys((primary.name, LOSS, *own)))
    better = {**own, LOSS: "lower", ACCURACY_NAME: ""}
    drawn = [_of_task(name, primary.part, better[name]) for name in named]
    drawn += [
        quantity
        for name, quantity in _BY_METRIC.items()
        if name not in (*_OF_ACCURACY, "test_loss", "validation_loss")
        or (name == "generalization_gap" and ACCURACY_NAME in own)
    ]
    if primary.part == "test" and any(_holds_out(state, name) for name in state.configurations):
        drawn += [_of_task(name, "validation", better[name], alone=True) for name in named]
    if not state.data:
        drawn[0] = replace(drawn[0], name="results", tab="results", better="")
    return tuple(drawn)


def _holds_out(state: SweepState, configuration: str) -> bool:
    """Return whether a task's configuration has validation data."""
    task = state.configurations[configuration].settings.task
    return task is not None and bool(task.validation or (task.facts and task.facts.validation))


def _of_task(name: str, part: Part, better: str, alone: bool = False) -> Quantity:
    """Return the curve of a metric of a task; with `alone` without that on training data."""
    word = name.replace("_", " ")
    if name == ACCURACY_NAME and part == "test":
        return ACCURACY
    twin = _figure("train", name) if part != "train" and not alone else None
    titled = f"{part} {word}" if alone else f"training {word}" if part == "train" else word
    return Quantity(
        name=titled,
        tab=f"{'val. ' * alone}{word}",
        test=_figure(part, name),
        train=twin,
        steep=True,
        share=name == ACCURACY_NAME,
        part=part,
        better=better,
    )


def _figure(part: Part, name: str) -> Figure:
    known = EPOCH.get(f"{part}_{name}")
    return known.figure if known and known.figure else Named(f"{part}_{name}")

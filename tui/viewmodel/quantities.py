"""What can be drawn as a curve: the figures of an epoch, and what they are drawn over."""

from dataclasses import dataclass

from batchscope.engine.analysis.figures import Along
from batchscope.engine.metrics.epoch_metrics import Figure, NoiseRatio, NormMean, NormSpread, Sum


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of an epoch: `test` is drawn solid, `train` dashed where there is such a twin.

    `steep` figures begin far from where they end; `share` is a fraction, told with four decimals;
    `sized` ones are counts of samples, to be seen beside the batch sizes.
    """

    name: str
    tab: str
    test: Figure
    train: Figure | None = None
    steep: bool = False
    share: bool = False
    sized: bool = False


@dataclass(frozen=True, slots=True)
class XQuantity:
    """What lies along the x axis; `planned` where a trial's budget tells how far it will go."""

    along: Along
    name: str
    planned: bool = True


QUANTITIES = (
    Quantity(
        "accuracy",
        "accuracy",
        Sum(test_accuracy=1.0),
        Sum(train_accuracy=1.0),
        steep=True,
        share=True,
    ),
    Quantity("loss", "loss", Sum(test_loss=1.0), Sum(train_loss=1.0), steep=True),
    Quantity("generalization gap", "gap", Sum(train_accuracy=1.0, test_accuracy=-1.0), share=True),
    Quantity("distance from init", "distance", Sum(distance_from_init=1.0)),
    Quantity("weight norm", "weights", Sum(weight_norm=1.0)),
    Quantity("mean gradient norm", "norm", NormMean()),
    Quantity("gradient norm cv", "norm cv", NormSpread()),
    Quantity("gradient noise scale", "noise", NoiseRatio(), sized=True),
    Quantity("mean update norm", "update", Sum(update_norm_mean=1.0)),
    Quantity("learning rate", "rate", Sum(lr=1.0)),
    Quantity("batch size", "batch", Sum(last_batch_size=1.0)),
    Quantity(
        "validation accuracy", "validation", Sum(validation_accuracy=1.0), steep=True, share=True
    ),
    Quantity("validation loss", "val loss", Sum(validation_loss=1.0), steep=True),
)
HELD_OUT = QUANTITIES[-2:]
"""Figures of images that are held out, where any are."""
ACCURACY, DISTANCE = QUANTITIES[0], QUANTITIES[3]
ERROR = Quantity(
    "accuracy",
    "accuracy",
    Sum(1.0, test_accuracy=-1.0),
    Sum(1.0, train_accuracy=-1.0),
    steep=True,
    share=True,
)
AXLES = (
    XQuantity("epochs", "epochs"),
    XQuantity("steps", "steps"),
    XQuantity("samples", "samples"),
    XQuantity("seconds", "seconds of training", planned=False),
    XQuantity("distance", "distance from init", planned=False),
)

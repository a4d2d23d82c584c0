"""What can be drawn as a curve: the figures of an epoch, and what they are drawn over."""

from dataclasses import dataclass

from engine.bins import Norms
from engine.events import EpochRecord
from engine.figures import Along, Measure


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of an epoch: `test` is drawn solid, `train` dashed where there is such a twin.

    `steep` figures begin far from where they end; `share` is a fraction, told with four decimals.
    """

    name: str
    tab: str
    test: Measure
    train: Measure | None = None
    steep: bool = False
    share: bool = False


@dataclass(frozen=True, slots=True)
class Axle:
    """What lies along the x axis; `planned` where a trial's budget tells how far it will go."""

    along: Along
    name: str
    planned: bool = True


def _gap(record: EpochRecord) -> float:
    return record.train_accuracy - record.test_accuracy


QUANTITIES = (
    Quantity(
        "accuracy",
        "accuracy",
        lambda record: record.test_accuracy,
        lambda record: record.train_accuracy,
        steep=True,
        share=True,
    ),
    Quantity(
        "loss", "loss", lambda record: record.test_loss, lambda record: record.train_loss, True
    ),
    Quantity("generalization gap", "gap", _gap, share=True),
    Quantity("distance from init", "distance", lambda record: record.distance_from_init),
    Quantity("weight norm", "weights", lambda record: record.weight_norm),
    Quantity("mean gradient norm", "norm", lambda record: Norms(record.norms).mean),
    Quantity("gradient norm cv", "norm cv", lambda record: Norms(record.norms).cv),
    Quantity("mean update norm", "update", lambda record: record.update_norm_mean),
)
ACCURACY, DISTANCE = QUANTITIES[0], QUANTITIES[3]
ERROR = Quantity(
    "accuracy",
    "accuracy",
    lambda record: 1.0 - record.test_accuracy,
    lambda record: 1.0 - record.train_accuracy,
    steep=True,
    share=True,
)
AXLES = (
    Axle("epochs", "epochs"),
    Axle("steps", "steps"),
    Axle("samples", "samples"),
    Axle("seconds", "seconds of training", planned=False),
    Axle("distance", "distance from init", planned=False),
)

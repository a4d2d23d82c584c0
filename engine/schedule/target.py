"""The target of a training: which figure it compares with it, and when it looks.

A target is an accuracy, a loss, or any metric of a task. It is compared on the validation samples
if there are any, or else on the test set.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from batchscope.engine.spec import Settings, Train

ACCURACY, LOSS = "accuracy", "loss"
KEYS = (
    "train.target_accuracy",
    "train.target_loss",
    "train.target_metric",
    "train.target_value",
)
"""The settings that state a target."""


class Target(NamedTuple):
    """A value of a metric that ends a training.

    Attributes:
        metric: `accuracy`, `loss`, or the name of a task's metric.
        value: its value; accuracies of images are fractions.
        better: whether `higher` or `lower` is better.
    """

    metric: str
    value: float
    better: Literal["higher", "lower"]

    def is_met(self, value: float | None) -> bool:
        """Return whether a value is as good as the target; False for an unknown one."""
        if value is None:
            return False
        return value >= self.value if self.better == "higher" else value <= self.value


def has_target(train: Train) -> bool:
    """Return whether the training has a target that ends it before its budget."""
    return stated(train) is not None


def stated(train: Train) -> tuple[str, float] | None:
    """Return the metric and the value of the target, whichever keys state it."""
    if train.target_accuracy is not None:
        return ACCURACY, train.target_accuracy
    if train.target_loss is not None:
        return LOSS, train.target_loss
    if train.target_metric is not None and train.target_value is not None:
        return train.target_metric, train.target_value
    return None


def canonical(train: Train) -> Train:
    """Return the settings with the target in `target_metric` and `target_value`."""
    metric, value = stated(train) or (None, None)
    return replace(
        train, target_accuracy=None, target_loss=None, target_metric=metric, target_value=value
    )


def target_of(settings: Settings) -> Target | None:
    """Return the target of a training; None without one.

    The direction of a task's metric is that of its `better`, or `higher` until the task has run.
    """
    found = stated(settings.train)
    if found is None:
        return None
    metric, value = found
    facts = settings.task.facts if settings.task else None
    lower = metric == LOSS or dict(facts.metrics if facts else ()).get(metric) == "lower"
    return Target(metric, value, "lower" if lower else "higher")


def is_met(settings: Settings, figures: Mapping[str, float | None]) -> bool:
    """Return whether the figures, by metric, reach the target; False for an unknown one."""
    target = target_of(settings)
    return target is not None and target.is_met(figures.get(target.metric))


def judged_by(settings: Settings) -> str:
    """Return the name of the column that is compared with the target."""
    found = stated(settings.train)
    return f"{judged_on(settings)}_{found[0] if found else LOSS}"


def judged_on(settings: Settings) -> Literal["validation", "test"]:
    """Return which data the target is compared on."""
    return "validation" if settings.validates else "test"


def target_text(train: Train, validation: bool) -> str:
    """Return in words that the target is reached, on the validation split or the test set."""
    what = "validation" if validation else "test"
    metric, value = stated(train) or ("", 0.0)
    return f"reached a {what} {metric.replace('_', ' ')} of {value:g}"


def is_check(seen: int, batch: int, images: int, checks: int) -> bool:
    """Return whether the target is checked after a batch.

    The k-th check of an epoch comes after the first batch that ends at or after k · images / checks
    images, so the last one is at the end of the epoch. There is at most one check per batch.

    Args:
        seen: images of this epoch seen, including the batch.
        batch: images of the batch.
        images: images of an epoch.
        checks: checks per epoch.
    """
    return seen * checks // images > (seen - batch) * checks // images

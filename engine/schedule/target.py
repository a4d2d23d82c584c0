"""The target that ends a training: what it is judged by, when it is checked, and what it took.

It is judged on the validation split where there is one, else on the test set.
"""

from batchscope.engine.spec import Settings, Train


def has_target(train: Train) -> bool:
    """Whether a training ends before its budget where it does well enough."""
    return train.target_accuracy is not None or train.target_loss is not None


def is_met(train: Train, loss: float | None, accuracy: float | None) -> bool:
    """Whether figures are as good as the target; one that is not known is not."""
    if train.target_accuracy is not None:
        return accuracy is not None and accuracy >= train.target_accuracy
    return train.target_loss is not None and loss is not None and loss <= train.target_loss


def judged_by(settings: Settings) -> str:
    """The column of the figures that has to reach the target."""
    images = "validation" if settings.data.validation else "test"
    return f"{images}_{'loss' if settings.train.target_accuracy is None else 'accuracy'}"


def target_text(train: Train, validation: bool) -> str:
    """That the target is reached, in words; `validation` says what it was judged on."""
    what = "validation" if validation else "test"
    if train.target_accuracy is not None:
        return f"reached a {what} accuracy of {train.target_accuracy:g}"
    return f"reached a {what} loss of {train.target_loss:g}"


def is_check(seen: int, batch: int, images: int, checks: int) -> bool:
    """Whether the target is checked after a batch with which `seen` of an epoch's images are seen.

    The k-th of `checks` comes after the first batch that ends at or behind k · images / checks, the
    last at the epoch's end: evenly spaced in images, and at most one a batch.
    """
    return seen * checks // images > (seen - batch) * checks // images

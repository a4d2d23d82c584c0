"""The target that ends a training early: when it is checked, and whether it is reached.

It is checked on the validation split if there is one, else on the test set.
"""

from batchscope.engine.spec import Settings, Train


def has_target(train: Train) -> bool:
    """Return whether the training has a target that ends it before its budget."""
    return train.target_accuracy is not None or train.target_loss is not None


def is_met(train: Train, loss: float | None, accuracy: float | None) -> bool:
    """Return whether loss or accuracy reach the target; False for an unknown value."""
    if train.target_accuracy is not None:
        return accuracy is not None and accuracy >= train.target_accuracy
    return train.target_loss is not None and loss is not None and loss <= train.target_loss


def judged_by(settings: Settings) -> str:
    """Return the name of the column that is compared with the target."""
    images = "validation" if settings.validates else "test"
    return f"{images}_{'loss' if settings.train.target_accuracy is None else 'accuracy'}"


def target_text(train: Train, validation: bool) -> str:
    """Return in words that the target is reached, on the validation split or the test set."""
    what = "validation" if validation else "test"
    if train.target_accuracy is not None:
        return f"reached a {what} accuracy of {train.target_accuracy:g}"
    return f"reached a {what} loss of {train.target_loss:g}"


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

"""Computes how many training images are held out for validation.

`engine.training.batches` draws which ones, with a fixed seed: the same for every trial.
"""

from batchscope.engine.spec import Data


def validation_size(data: Data, images: int) -> int:
    """Return how many of `images` are held out: the share, at least one, and never all."""
    if not data.validation:
        return 0
    return min(images - 1, max(1, round(data.validation * images)))


def training_size(data: Data, images: int) -> int:
    """Return how many images are used for training, which is the size of an epoch."""
    return images - validation_size(data, images)


def problem(data: Data, images: int) -> str | None:
    """Return why the share is too large; None if it is not."""
    if data.validation and round(data.validation * images) >= images:
        return (
            f"data.validation: {data.validation:g} holds out all {images:,} training images of "
            f"{data.name}; choose a smaller share"
        )
    return None

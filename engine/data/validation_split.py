"""How many training images are held out for validation, and how many are left to train on.

Which ones is drawn in `engine.training.batches`, by a fixed seed: the same for every trial.
"""

from batchscope.engine.spec import Data


def validation_size(data: Data, images: int) -> int:
    """Images held out of so many: the share asked for, at least one, and never the last one."""
    if not data.validation:
        return 0
    return min(images - 1, max(1, round(data.validation * images)))


def training_size(data: Data, images: int) -> int:
    """Images that are left to train on: what an epoch goes through."""
    return images - validation_size(data, images)


def problem(data: Data, images: int) -> str | None:
    """Why so large a share cannot be held out; None where it can."""
    if data.validation and round(data.validation * images) >= images:
        return (
            f"data.validation: {data.validation:g} of the {images:,} training images of "
            f"{data.name} leaves none to train on"
        )
    return None

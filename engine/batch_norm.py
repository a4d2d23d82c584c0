"""Batch norm under accumulation: what it normalizes over, and which cuts leave it one image.

Batch norm takes mean and variance over the images that pass through the network together. Of a
batch in micro-batches those are the images of one micro-batch (Ghost batch norm, Hoffer et al.
2017), so the gradient is not that of the whole batch. A piece of one image has no variance.
"""

from collections.abc import Sequence

from engine.budget import planned_steps, steps_per_epoch
from engine.course import Course, changing
from engine.plan import Plan
from engine.spec import Settings


def pieces(settings: Settings, batch_size: int, train_size: int) -> tuple[int, ...]:
    """Numbers of images that are cut into micro-batches and must not leave one over.

    Nothing where there is no batch norm; otherwise the batch, and the last of an epoch where the
    budget comes to it; where the batch size changes, those of every batch that occurs.
    """
    if not settings.model.batch_norm:
        return ()
    if changing(settings):
        return Course(settings, train_size).lengths()
    last = train_size % batch_size
    steps = planned_steps(settings.train, train_size, batch_size)
    met = steps is None or steps >= steps_per_epoch(train_size, batch_size)
    return (batch_size, last) if last and met else (batch_size,)


def leaves_one(counts: Sequence[int], size: int) -> bool:
    """Whether pieces of `size` images leave one image alone in any of the `counts`."""
    return any(size == 1 or count % size == 1 for count in counts)


def largest_cut(most: int, counts: Sequence[int]) -> int | None:
    """The largest size up to `most` that leaves no image alone, if there is one."""
    return next((size for size in range(most, 0, -1) if not leaves_one(counts, size)), None)


def refusal(counts: Sequence[int], micro_batch_size: int | None) -> str | None:
    """Why batch norm would meet a single image; None where it would not.

    `micro_batch_size` is None where it may be chosen so that it does not.
    """
    rule = "batch norm has no variance over a single image"
    if 1 in counts:
        which = "the batch is one" if counts[0] == 1 else "an epoch ends in a batch of one"
        return f"{rule}, and {which}: choose another train.batch_size"
    if micro_batch_size is not None and leaves_one(counts, micro_batch_size):
        cut = next(n for n in counts if micro_batch_size == 1 or n % micro_batch_size == 1)
        return (
            f"{rule}, and micro-batches of {micro_batch_size:,} leave one of {cut:,} images: "
            "choose another memory.micro_batch_size"
        )
    return None


def normalized_over(settings: Settings, plan: Plan) -> int | None:
    """Images that batch norm sees together in a whole micro-batch; None without batch norm."""
    return plan.micro_batch_size if settings.model.batch_norm else None


def ghostly(settings: Settings, plan: Plan) -> str:
    """What accumulation does to batch norm, where it does anything."""
    if not settings.model.batch_norm or plan.micro_batch_size >= plan.largest:
        return ""
    return (
        f"batch norm sees {plan.micro_batch_size:,} images at a time (Ghost batch norm), "
        "not the batch"
    )

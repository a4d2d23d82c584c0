"""Batch norm under accumulation: what it normalizes over, and which cuts leave it one image.

Batch norm takes mean and variance over the images that pass through the network together. Of a
batch in micro-batches those are the images of one micro-batch, so the gradient is not that of the
whole batch. A piece of one image has no variance.

*Ghost batch norm* (Hoffer et al. 2017, arXiv:1705.08741, algorithm 1) makes that a setting: a batch
is normalized in groups of `model.ghost_batch_size` images, in their order. A smaller last group
stands by itself, but a single image joins the group before it. So a cut of which all pieces but the
last are multiples of the group, and none is one image, parts no group: its gradient is that of the
whole batch, up to rounding. Each group moves the running statistics in turn, as a batch by itself
would. (The paper keeps averages of the standard deviation; these are of the variance, without bias,
as those of torch.)
"""

from collections.abc import Sequence

from batchscope.engine.networks.architectures import batch_norm_key, has_batch_norm, images_together
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.budget import planned_steps, steps_per_epoch
from batchscope.engine.schedule.course import Course, changing
from batchscope.engine.spec import Settings


def pieces(settings: Settings, batch_size: int, train_size: int) -> tuple[int, ...]:
    """Numbers of images that are cut into micro-batches and must not leave one over.

    Nothing where there is no batch norm; otherwise the batch, and the last of an epoch where the
    budget comes to it; where the batch size changes, those of every batch that occurs.
    """
    if not has_batch_norm(settings.model):
        return ()
    if changing(settings):
        return Course(settings, train_size).lengths()
    last = train_size % batch_size
    steps = planned_steps(settings.train, train_size, batch_size)
    met = steps is None or steps >= steps_per_epoch(train_size, batch_size)
    return (batch_size, last) if last and met else (batch_size,)


def groups(count: int, size: int) -> list[int]:
    """Of so many images the numbers in each group of ghost batch norm."""
    whole, rest = divmod(count, size)
    sizes = [size] * whole
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def leaves_one(counts: Sequence[int], size: int) -> bool:
    """Whether pieces of `size` images leave one image alone in any of the `counts`."""
    return any(size == 1 or count % size == 1 for count in counts)


def parts_groups(counts: Sequence[int], size: int, together: int) -> bool:
    """Whether pieces of `size` images part a group of `together` in any of the `counts`."""
    return size % together > 0 and any(count > size for count in counts)


def largest_cut(most: int, counts: Sequence[int], together: int = 1) -> int | None:
    """The largest size up to `most` that leaves no image alone and parts no group, if any does."""
    sizes = range(most, 0, -1)
    return next((size for size in sizes if _allowed(counts, size, together)), None)


def smallest_cut(most: int, counts: Sequence[int], together: int = 1) -> int | None:
    """The smallest such size up to `most`, if there is one."""
    sizes = range(1, most + 1)
    return next((size for size in sizes if _allowed(counts, size, together)), None)


def _allowed(counts: Sequence[int], size: int, together: int) -> bool:
    return not (leaves_one(counts, size) or parts_groups(counts, size, together))


def refusal(counts: Sequence[int], micro_batch_size: int | None, together: int = 1) -> str | None:
    """Why batch norm would meet a single image, or a part of a group; None where it would not.

    `micro_batch_size` is None where it may be chosen so that it does not.
    """
    if micro_batch_size is not None and parts_groups(counts, micro_batch_size, together):
        return parted(micro_batch_size, together)
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


def setting_problem(settings: Settings) -> str | None:
    """Where settings have batch norm see one image at a time, or part a group of ghost batch norm.

    As `key: reason`; None where they do not.
    """
    return _single_image_problem(settings) or _parted_group_problem(settings)


def _single_image_problem(settings: Settings) -> str | None:
    if not has_batch_norm(settings.model):
        return None
    small = [size for pair in settings.probe.pairs for size in pair]
    asked = {
        "train.batch_size": settings.train.batch_size,
        "memory.micro_batch_size": settings.memory.micro_batch_size,
        "probe.batch_sizes": min(settings.probe.batch_sizes, default=None),
        "probe.pairs": min(small, default=None),
    }
    norm = f"batch norm ({batch_norm_key(settings.model)})"
    return next(
        (
            f"{key}: {norm} has no variance over a single image; at least 2"
            for key, size in asked.items()
            if size == 1
        ),
        None,
    )


def _parted_group_problem(settings: Settings) -> str | None:
    micro, together = settings.memory.micro_batch_size, images_together(settings.model)
    if micro == "auto" or not parts_groups((settings.train.batch_size,), micro, together):
        return None
    return f"memory.micro_batch_size: {parted(micro, together)}"


def parted(micro_batch_size: int, together: int) -> str:
    """What is wrong with a micro-batch size that is no multiple of a group."""
    near = max(1, micro_batch_size // together) * together
    return (
        f"ghost batch norm takes {together:,} images at a time, and micro-batches of "
        f"{micro_batch_size:,} part them: choose a multiple for memory.micro_batch_size, such as "
        f"{near:,}"
    )


def normalized_over(settings: Settings, plan: Plan) -> int | None:
    """Images that batch norm sees together in a whole micro-batch; None without batch norm."""
    if not has_batch_norm(settings.model):
        return None
    return min(plan.micro_batch_size, settings.model.ghost_batch_size or plan.micro_batch_size)


def exact_in_parts(settings: Settings) -> bool:
    """Whether any cut that is allowed gives the gradient of the whole batch, up to rounding."""
    return not has_batch_norm(settings.model) or settings.model.ghost_batch_size is not None


def grouped(settings: Settings) -> str:
    """What ghost batch norm normalizes over, where it was asked for."""
    together = images_together(settings.model)
    return f"ghost batch norm over {together:,} images, whatever the cut" if together > 1 else ""


def ghostly(settings: Settings, plan: Plan) -> str:
    """What accumulation does to batch norm, where it does anything."""
    if exact_in_parts(settings) or plan.micro_batch_size >= plan.largest:
        return ""
    return (
        f"batch norm sees {plan.micro_batch_size:,} images at a time (Ghost batch norm), "
        "not the batch"
    )

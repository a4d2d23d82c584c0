"""Batch norm under gradient accumulation: what it normalizes over, and which micro-batches suit it.

Batch norm takes mean and variance over the images that pass through the network together. Where a
batch is cut into micro-batches, these are the images of one micro-batch, so the gradient is not
that of the whole batch. A micro-batch of one image has no variance at all.

*Ghost batch norm* (Hoffer et al. 2017, arXiv:1705.08741, algorithm 1) makes the group a setting: a
batch is normalized in groups of `model.ghost_batch_size` images, in their order. A smaller last
group is normalized by itself, but a single last image joins the group before it. So micro-batches
keep all groups whole if each of them but the last is a multiple of the group and none is a single
image. Then the accumulated gradient is that of the whole batch, up to rounding. Each group updates
the running statistics in turn, as a batch of its own would. (The paper averages the standard
deviation; here it is the unbiased variance, as in torch.)

The batches of an epoch may leave a single image too. It joins the batch before it, which then has
one image more than the batch size (`engine.schedule.course.Course.joins`).
"""

from collections.abc import Sequence

from batchscope.engine.networks.architectures import batch_norm_key, has_batch_norm, images_together
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.course import Course, changing
from batchscope.engine.spec import Settings


def pieces(settings: Settings, train_size: int) -> tuple[int, ...]:
    """Return the sizes of the batches that must not end in a micro-batch of a single sample.

    Without batch norm there are none. Otherwise they are the sizes of all batches that occur: where
    the budget reaches the end of an epoch, also that of its last one.
    """
    return Course(settings, train_size).lengths() if has_batch_norm(settings.model) else ()


def groups(count: int, size: int) -> list[int]:
    """Return the number of images in each group of ghost batch norm.

    Args:
        count: images that pass through the network together.
        size: `model.ghost_batch_size`.
    """
    complete, rest = divmod(count, size)
    sizes = [size] * complete
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def leaves_one(counts: Sequence[int], size: int) -> bool:
    """Return whether micro-batches of `size` images leave one image of any batch by itself.

    Args:
        counts: images of each batch.
        size: the micro-batch size.
    """
    return any(size == 1 or count % size == 1 for count in counts)


def parts_groups(counts: Sequence[int], size: int, together: int) -> bool:
    """Return whether micro-batches of `size` images split a group of `together` in any batch."""
    return size % together > 0 and any(count > size for count in counts)


def largest_cut(most: int, counts: Sequence[int], together: int = 1) -> int | None:
    """Return the largest micro-batch size up to `most` that suits batch norm; None if none does.

    It leaves no image of the batches `counts` by itself and splits no group of `together` images.
    """
    sizes = range(most, 0, -1)
    return next((size for size in sizes if _allowed(counts, size, together)), None)


def smallest_cut(most: int, counts: Sequence[int], together: int = 1) -> int | None:
    """Return the smallest micro-batch size up to `most` that suits batch norm; None without one."""
    sizes = range(1, most + 1)
    return next((size for size in sizes if _allowed(counts, size, together)), None)


def _allowed(counts: Sequence[int], size: int, together: int) -> bool:
    return not (leaves_one(counts, size) or parts_groups(counts, size, together))


def refusal(counts: Sequence[int], micro_batch_size: int | None, together: int = 1) -> str | None:
    """Return why batch norm would get a single sample or a split group; None if it would not.

    Args:
        counts: images of each batch.
        micro_batch_size: None where the program still chooses it, and can avoid both.
        together: images of a group of ghost batch norm, or 1.
    """
    if micro_batch_size is not None and parts_groups(counts, micro_batch_size, together):
        return parted(micro_batch_size, together)
    rule = "batch norm has no variance over a single sample"
    if 1 in counts:
        which = "the batch is one" if counts[0] == 1 else "an epoch ends in a batch of one"
        return f"{rule}, and {which}: choose another train.batch_size"
    if micro_batch_size is not None and leaves_one(counts, micro_batch_size):
        cut = next(n for n in counts if micro_batch_size == 1 or n % micro_batch_size == 1)
        near = largest_cut(micro_batch_size, counts, together)
        near = near or smallest_cut(max(counts), counts, together)
        return (
            f"{rule}, and micro-batches of {micro_batch_size:,} leave one of {cut:,} samples alone"
            ": choose another memory.micro_batch_size" + (f", such as {near:,}" if near else "")
        )
    return None


def setting_problem(settings: Settings) -> str | None:
    """Return which setting gives batch norm a single sample or a split group; None if none does.

    As `key: reason`.
    """
    return _single_image_problem(settings) or _parted_group_problem(settings)


def _single_image_problem(settings: Settings) -> str | None:
    if not has_batch_norm(settings.model):
        return None
    in_pairs = [size for pair in settings.probe.pairs for size in pair]
    sizes = {
        "train.batch_size": settings.train.batch_size,
        "memory.micro_batch_size": settings.memory.micro_batch_size,
        "probe.batch_sizes": min(settings.probe.batch_sizes, default=None),
        "probe.pairs": min(in_pairs, default=None),
    }
    key = batch_norm_key(settings.model) if settings.task is None else "of the task's model"
    norm = f"batch norm ({key})"
    return next(
        (
            f"{key}: {norm} has no variance over a single sample; at least 2"
            for key, size in sizes.items()
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
    """Return the error message for a micro-batch size that is not a multiple of the group."""
    near = max(1, micro_batch_size // together) * together
    return (
        f"ghost batch norm normalizes groups of {together:,} samples, and micro-batches of "
        f"{micro_batch_size:,} split them: choose a multiple of {together:,} for "
        f"memory.micro_batch_size, such as {near:,}"
    )


def normalized_over(settings: Settings, plan: Plan) -> int | None:
    """Return the number of images that batch norm normalizes over; None without batch norm."""
    if not has_batch_norm(settings.model):
        return None
    most = plan.micro_batch_size
    if not changing(settings):  # a batch that a single image joined is larger by one
        most = min(most, plan.batch_size)
    return min(most, settings.model.ghost_batch_size or most)


def exact_in_parts(settings: Settings) -> bool:
    """Return whether accumulation gives the gradient of the whole batch, up to rounding error."""
    return not has_batch_norm(settings.model) or settings.model.ghost_batch_size is not None


def grouped(settings: Settings) -> str:
    """Return in words what ghost batch norm normalizes over, for the plan; empty without it."""
    together = images_together(settings.model)
    if together == 1:
        return ""
    return f"ghost batch norm over {together:,} samples, whatever the micro-batch size"


def ghostly(settings: Settings, plan: Plan) -> str:
    """Return in words how accumulation changes batch norm, for the plan; empty if it does not."""
    if exact_in_parts(settings) or plan.micro_batch_size >= plan.largest:
        return ""
    return (
        f"batch norm sees {plan.micro_batch_size:,} samples at a time (Ghost batch norm), "
        "not the batch"
    )


def joined(plan: Plan) -> str:
    """Return in words that a single sample joins the last batch of each epoch."""
    return (
        f"an epoch's last batch has {plan.largest:,} samples, because batch norm has no variance "
        "over the single sample that is left"
    )

"""Divides a batch by a function of a person's own, and checks that no sample is lost."""

from collections.abc import Callable, Sequence

from torch import Tensor

from batchscope.engine.errors import shown
from batchscope.engine.task import Batch, TaskProblem
from batchscope.engine.training.tasks.batch_structure import tensors

Split = Callable[[Batch, int], Sequence[Batch]]


def divided(split: Split, batch: Batch, parts: int, samples: int) -> list[tuple[Batch, int]]:
    """Return the parts of a batch, each with its number of samples.

    Samples are counted where every tensor of the batch has one row for each. Otherwise, as in a
    packed batch, the parts are taken to be about equal.

    Args:
        split: takes the batch and a number of parts.
        batch: the whole batch.
        parts: how many to divide it into.
        samples: how many samples it has.

    Raises:
        TaskProblem: it returned no list, another number of parts, or other samples.
    """
    returned = split(batch, parts)
    if not isinstance(returned, list | tuple):
        raise TaskProblem(f"Task(split=…): expected a list of batches, got {shown(returned)}")
    if len(returned) != parts:
        raise TaskProblem(
            f"Task(split=…): {parts} parts were asked for, and {len(returned)} came back"
        )
    if _rows(batch) != samples:
        sizes = [
            (number + 1) * samples // parts - number * samples // parts for number in range(parts)
        ]
        return list(zip(returned, sizes, strict=True))
    counts = [_rows(each) for each in returned]
    if None in counts or sum(count or 0 for count in counts) != samples:
        found = " + ".join("?" if count is None else str(count) for count in counts)
        raise TaskProblem(
            f"Task(split=…): a batch of {samples} samples became parts of {found}; every sample "
            "must be in exactly one part"
        )
    return [(part, count or 0) for part, count in zip(returned, counts, strict=True)]


def _rows(batch: Batch) -> int | None:
    """Return the rows that every tensor of a batch has; None if they differ or there are none."""
    found: set[int | None] = {_length(each) for each in tensors(batch)}
    return found.pop() if len(found) == 1 else None


def _length(tensor: Tensor) -> int | None:
    return len(tensor) if tensor.ndim else None

"""Checks the data of a task: how many samples, how long, and whether they stay as they are."""

import time
from functools import cached_property

import torch
from torch import Tensor

from batchscope.engine.task import Batch, Task
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.tasks.batch_structure import tensors
from batchscope.engine.training.tasks.check_row import Verdict
from batchscope.engine.training.tasks.read_ahead import Request
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.tasks.task_dataset import READING, read

LOOKED_AT = 2_000
LOOK_SECONDS = 5.0
READ_TWICE = 4
"""Samples that are read a second time."""


class DataCheck:
    """Checks the data of one task; each check returns a verdict and what explains it, or nothing.

    Attributes:
        train: the training data.

    Raises:
        TaskProblem: they cannot be used.
    """

    def __init__(self, task: Task) -> None:
        self._task, self.train = task, TaskData("train", task.train, task.collate)

    def amounts(self) -> tuple[Verdict, str]:
        """Say how many samples there are."""
        parts = [f"{self.train.size:,} to train on"]
        for name in ("validation", "test"):
            data = getattr(self._task, name)
            if data is None:
                parts.append(f"no {name} data")
            else:
                parts.append(f"{TaskData(name, data, self._task.collate).size:,} for {name}")
        return ("ok" if self._task.test is not None else "note"), "samples: " + ", ".join(parts)

    def read_twice(self) -> tuple[Verdict, str] | None:
        """Say whether samples are the same when they are read again."""
        if self.train.in_memory:
            return None
        if (number := self.unsteady) is not None:
            return "note", self.unsteady_text(number)
        return "ok", f"{min(READ_TWICE, self.train.size)} samples are the same when read again"

    def unsteady_text(self, number: int) -> str:
        """Return what it means that a sample differs when it is read again."""
        return (
            f"sample {number:,} is another one when it is read again ({self.train.place()}): "
            "it is not drawn with the generators of torch, numpy or random, which are seeded by "
            "seed, epoch and number before it is read; so a training that is resumed, or has other "
            "loaders or another cut, trains on other samples"
        )

    @cached_property
    def unsteady(self) -> int | None:
        """The first sample that differs when it is read again; None if all looked at do not."""
        if self.train.in_memory:
            return None
        chosen = epoch_order(self.train.size, 0, 1)[:READ_TWICE].tolist()
        first = {number: self._read(number) for number in chosen}
        for number in reversed(chosen):
            one, other = list(tensors(first[number])), list(tensors(self._read(number)))
            if len(one) != len(other) or not all(map(_same_bits, one, other)):
                return int(number)
        return None

    def _read(self, number: int) -> Batch:
        """Return a sample, read as in the first epoch of seed 0."""
        return read(self.train, Request("train", (number,), (0, 1, READING)))

    def lengths(self) -> tuple[Verdict, str] | None:
        """Say whether samples differ in length."""
        if self.train.in_memory:
            return None
        began, sizes = time.monotonic(), []
        for number in range(min(LOOKED_AT, self.train.size)):
            sample = self.train.batch(torch.tensor([number]))
            sizes.append(sum(each.numel() for each in tensors(sample)))
            if time.monotonic() - began > LOOK_SECONDS:
                break
        if min(sizes) == max(sizes):
            return "ok", f"all of {len(sizes):,} samples looked at have {sizes[0]:,} numbers"
        return "note", (
            f"samples have {min(sizes):,} to {max(sizes):,} numbers ({len(sizes):,} looked at): "
            "memory is measured with the longest"
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())

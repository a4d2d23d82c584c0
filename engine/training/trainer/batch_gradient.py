"""Computes the gradient of one batch, whole or in parts, by the fastest way that there is."""

from functools import partial

import torch
from torch import Tensor

from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.data_parallel.leader import Team
from batchscope.engine.training.instruments.instrument import BatchParts, WeightedParts
from batchscope.engine.training.instruments.noise_scale import (
    PartsAccumulator,
    first_part,
    two_parts,
)
from batchscope.engine.training.instruments.weighted_parts import (
    WeightedAccumulator,
    two_weighted_parts,
)
from batchscope.engine.training.model.cuda_graph import Replay
from batchscope.engine.training.model.passes import Explicit, Heard, unheard
from batchscope.engine.training.model.stack import Stack
from batchscope.engine.training.model.task_pass import TaskPass
from batchscope.engine.training.tasks.random_streams import next_numbers
from batchscope.engine.training.tasks.task_dataset import TaskDataset


class BatchGradient:
    """Computes the gradients of batches into the buffer of a stack.

    Args:
        stack: the replicates.
        images: the data set.
        cut: the micro-batch size at first.
        mean: whether the loss is the mean over a batch, not the sum.
        team: the workers that divide every batch of a single replicate; None for one worker.

    Attributes:
        micro_batch_size: the most samples in one forward and backward pass.
    """

    def __init__(
        self, stack: Stack, images: TrainingData, cut: int, mean: bool, team: Team | None
    ) -> None:
        self.micro_batch_size = cut
        self._stack, self._images, self._mean, self._team = stack, images, mean, team
        self._replay: Replay | None = None
        if stack.weights.is_cuda and isinstance(stack.passes, Explicit) and team is None:
            self._replay = Replay(self._take, stack.gradient, stack.buffers)

    def compute(self, batch: Tensor, parts: bool = False) -> BatchParts | WeightedParts | None:
        """Compute the gradients of a batch into `stack.gradient`.

        Args:
            batch: indices of the images, shape (R, B).
            parts: whether to measure parts of the batch too; the gradient has the same bits.

        Returns:
            The parts, or None.
        """
        count = batch.shape[1]
        if self._team is not None:
            return self._divide(self._team, batch, parts)
        if not parts:
            if self._replay is not None and count <= self.micro_batch_size:
                self._replay.take(batch)
            else:
                self._take(batch)
            return None
        if isinstance(self._images, TaskDataset):
            return self._task_parts(self._images, batch)
        gradient = self._stack.gradient
        if count > self.micro_batch_size:
            sums = PartsAccumulator(gradient, self.scale(count))
            self._accumulate(batch, self._mean, sums.add)
            return sums.parts()
        size = first_part(count)
        self._accumulate(batch[:, :size], mean=False)
        first = gradient.clone()
        self._accumulate(batch, self._mean)
        return two_parts(first, gradient, size, count, self.scale(count))

    def scale(self, count: int) -> float:
        """Return the factor that turns a sum over `count` samples into the loss's reduction."""
        return 1.0 / count if self._mean else 1.0

    def recording_seconds(self) -> float:
        """Return the seconds spent on recording CUDA graphs since the last call."""
        return self._replay.taken_seconds() if self._replay is not None else 0.0

    def _task_parts(self, data: TaskDataset, batch: Tensor) -> WeightedParts:
        """Compute the gradient of a batch (1, B) of a task, and measure its parts.

        While it accumulates, the buffer holds a sum that is divided by no weight yet. A batch that
        is one micro-batch is measured as two parts. The second is what the first leaves of the
        batch, unless random numbers are drawn for each part: by the pass, or by a `collate`.
        """
        passes, gradient, count = self._stack.passes, self._stack.gradient, batch.shape[1]
        assert isinstance(passes, TaskPass)
        if count > self.micro_batch_size:
            sums = WeightedAccumulator(gradient)
            self._accumulate(batch, self._mean, lambda size: sums.add(size, passes.part_weight))
            return sums.parts(self._mean)
        sizes = first_part(count), count - first_part(count)
        first, rest = torch.split(batch, list(sizes), 1)
        buffers = [buffer.clone() for buffer in self._stack.buffers]
        data.samples.seed_pass(first[0], 0)
        before = next_numbers(gradient.device)
        self._accumulate(first, mean=False)
        one, weight = gradient.clone(), passes.part_weight
        other = other_weight = None
        if data.task.collate or next_numbers(gradient.device) != before:
            self._accumulate(rest, mean=False)
            other, other_weight = gradient.clone(), passes.part_weight
        for buffer, kept in zip(self._stack.buffers, buffers, strict=True):
            buffer.copy_(kept)
        self._accumulate(batch, self._mean)
        if other is None or other_weight is None:
            whole = gradient * passes.part_weight if self._mean else gradient
            other, other_weight = whole - one, passes.part_weight - weight
        return two_weighted_parts((one, other), (weight, other_weight), sizes, self._mean)

    def _divide(self, team: Team, batch: Tensor, parts: bool) -> BatchParts | None:
        """Compute the gradient of a batch (1, B) that is divided among the workers.

        With `parts`, the shares are the parts.
        """
        gradient, count = self._stack.gradient, batch.shape[1]
        scale = self.scale(count)
        squares = team.gradient(
            self._stack.weights.detach(),
            gradient,
            batch,
            cut=self.micro_batch_size,
            own=partial(self._accumulate, mean=False),
            measured=parts,
        )
        if scale != 1.0:
            gradient.mul_(scale)
        return None if squares is None else BatchParts(squares, team.parts(count))

    def _take(self, batch: Tensor) -> None:
        self._accumulate(batch, self._mean)

    def _accumulate(self, batch: Tensor, mean: bool, heard: Heard = unheard) -> None:
        samples, cut = self._images.samples, self.micro_batch_size
        self._stack.passes.accumulate(samples, batch, cut, mean, heard)

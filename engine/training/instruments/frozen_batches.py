"""Draws independent batches and computes their gradients at frozen weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.planning.batch_norm import largest_cut
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import Pass, alone, unheard


class Drawing:
    """Draws independent batches and computes their gradients.

    The batches depend only on the seed and on the `stream` given to `batches`.

    Args:
        flat: the network.
        images: the data set.
        seed: seed of the batches.
        mean: whether the loss of a batch is the mean over its samples, or their sum.
        replacement: whether the images of a batch are drawn with replacement.
        micro_batch_size: the most samples in one forward and backward pass.
        batch_norm: whether the network has batch norm, so that no micro-batch may have one sample.
        together: images of a group that must stay in one micro-batch (ghost batch norm).
        channels_last: memory layout of convolutions.
    """

    def __init__(
        self,
        flat: FlatModel,
        images: TrainingData,
        seed: int,
        mean: bool,
        replacement: bool,
        *,
        micro_batch_size: int,
        batch_norm: bool = False,
        together: int = 1,
        channels_last: bool = False,
    ) -> None:
        self.flat, self.images = flat, images
        self._channels_last = channels_last
        self.micro_batch_size, self._batch_norm = micro_batch_size, batch_norm
        self._together = together
        self._seed, self._mean, self._replacement = seed, mean, replacement

    @cached_property
    def _passes(self) -> Pass:
        """The passes of the network; made at the first draw, since many trainings have none."""
        return alone(self.flat, self._channels_last)

    def batches(self, size: int, count: int, stream: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield `count` batches of indices of images, each of shape (size,)."""
        mixed = np.random.SeedSequence([self._seed, *stream, size]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        total = self.images.train_size
        for _ in range(count):
            if self._replacement:
                drawn = torch.randint(total, (size,), generator=generator)
            else:
                drawn = torch.randperm(total, generator=generator)[:size]
            yield self.images.of_training(drawn.to(self.flat.gradient.device))

    def gradient(self, batch: Tensor) -> Tensor:
        """Compute the gradient (P,) of a batch at the present weights.

        The next call overwrites the returned tensor.

        Args:
            batch: indices of the images, shape (B,).
        """
        counts = (len(batch),) if self._batch_norm else ()
        micro_batch_size = largest_cut(self.micro_batch_size, counts, self._together) or len(batch)
        rows, samples = batch.unsqueeze(0), self.images.samples
        self._passes.accumulate(samples, rows, micro_batch_size, self._mean, unheard)
        return self.flat.gradient


@contextmanager
def frozen_weights(flat: FlatModel) -> Iterator[Tensor]:
    """Yield a copy of the weights (P,), and restore weights and buffers afterwards."""
    weights = flat.copy_weights()
    buffers = [buffer.clone() for buffer in flat.model.buffers()]
    try:
        yield weights
    finally:
        flat.weights.detach().copy_(weights)
        for buffer, kept in zip(flat.model.buffers(), buffers, strict=True):
            buffer.copy_(kept)

"""Batches drawn at weights that stand still, each on its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.planning.batch_norm import largest_cut
from batchscope.engine.training.batches import Images
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import alone, unheard


class Drawing:
    """Draws batches and their gradients; what is drawn depends on seed and `stream` alone.

    Images of a batch are drawn without replacement unless `replacement`; batches are independent.
    The gradient is of the mean loss of a batch, or of the sum unless `mean`; `micro_batch_size`
    samples are in memory at once, or a few less where `batch_norm` would be left with one, or a
    group of so many `together` would be parted.
    """

    def __init__(
        self,
        flat: FlatModel,
        images: Images,
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
        self._passes = alone(flat, channels_last)
        self.micro_batch_size, self._batch_norm = micro_batch_size, batch_norm
        self._together = together
        self._seed, self._mean, self._replacement = seed, mean, replacement

    def batches(self, size: int, count: int, stream: tuple[int, ...]) -> Iterator[Tensor]:
        """`count` batches of indices (size,)."""
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
        """The gradient (P,) of a batch at the present weights, in a buffer that is used again."""
        counts = (len(batch),) if self._batch_norm else ()
        micro_batch_size = largest_cut(self.micro_batch_size, counts, self._together) or len(batch)
        images, labels = self.images.train, self.images.train_labels
        self._passes.accumulate(
            images, labels, batch.unsqueeze(0), micro_batch_size, self._mean, unheard
        )
        return self.flat.gradient


@contextmanager
def standing_still(flat: FlatModel) -> Iterator[Tensor]:
    """The weights (P,) as they are, to which weights and buffers return in the end."""
    weights = flat.copy_weights()
    buffers = [buffer.clone() for buffer in flat.model.buffers()]
    try:
        yield weights
    finally:
        flat.weights.detach().copy_(weights)
        for buffer, kept in zip(flat.model.buffers(), buffers, strict=True):
            buffer.copy_(kept)

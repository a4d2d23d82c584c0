"""The images of a data set as tensors on the device, and the order in which they are seen."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.prepare import load_arrays
from engine.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Images:
    """Images (N, C, H, W) float32, normalized, and labels (N,) int64, on one device.

    `train_part` (M,) indexes the fixed part of the training images, as large as the test
    set, on which the train figures are taken.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    train_part: Tensor

    def held(self) -> list[Tensor]:
        """Every tensor."""
        labels = [self.train_labels, self.test_labels]
        return [self.train, self.test, *labels, self.train_part]

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train)


def load_images(prepared: Prepared, device: torch.device) -> Images:
    """Map the prepared arrays; on a CPU the processes share their pages."""
    train, train_labels, test, test_labels = (
        torch.from_numpy(array).to(device) for array in load_arrays(prepared)
    )
    generator = torch.Generator().manual_seed(0)
    part = torch.randperm(len(train), generator=generator)[: len(test)].sort().values
    return Images(train, train_labels, test, test_labels, part.to(device))


def epoch_order(train_size: int, seed: int, epoch: int, replacement: bool = False) -> Tensor:
    """The images (N,) of one epoch in order: a function of seed and epoch alone.

    Without replacement every image comes once; with it, N images are drawn independently.

    It is drawn on the CPU, so that every device sees the same one, and does not depend on
    the batch size, so that trials of one seed are paired.
    """
    # torch's CPU generator takes 32 bits of a seed and drops the rest, so both are mixed first
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    generator = torch.Generator().manual_seed(mixed)
    if replacement:
        return torch.randint(train_size, (train_size,), generator=generator)
    return torch.randperm(train_size, generator=generator)

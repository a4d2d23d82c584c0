"""The images of a data set as tensors on the device, and the order in which they are seen."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.data.prepare import load_arrays
from batchscope.engine.data.prepared import Prepared

Part = Literal["train", "test", "validation"]
SPLIT_SEED = 1  # of no trial's order, which is drawn from a seed that is mixed with the epoch


@dataclass(frozen=True, slots=True)
class Images:
    """Images (N, C, H, W) float32, normalized, and labels (N,) int64, on one device.

    `train_part` (M,) indexes the fixed part of the training images, as large as the test
    set, on which the train figures are taken. Where some of `train` are held out, `trained`
    indexes those that are left to train on and `validation` those that are not, else both are None.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    train_part: Tensor
    trained: Tensor | None = None
    validation: Tensor | None = None

    def held(self) -> list[Tensor]:
        """Every tensor."""
        labels = [self.train_labels, self.test_labels]
        split = [part for part in (self.trained, self.validation) if part is not None]
        return [self.train, self.test, *labels, self.train_part, *split]

    @property
    def train_size(self) -> int:
        """Number of images to train on."""
        return len(self.train) if self.trained is None else len(self.trained)

    @property
    def validates(self) -> bool:
        """Whether any are held out."""
        return self.validation is not None

    def batches(self, part: Part, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of a part, at most `size` at once; those of `validation` if any."""
        if part == "test":
            parts = torch.split(self.test, size), torch.split(self.test_labels, size)
            yield from zip(*parts, strict=True)
            return
        index = self.train_part if part == "train" else self.validation
        for some in torch.split(index, size) if index is not None else ():
            yield self.train[some], self.train_labels[some]

    def part(self, count: int) -> Tensor:
        """Where in `train` a fixed part (`count`,) of the images to train on is, at most all.

        A smaller part lies within a larger one, and `train_part` is one of them.
        """
        return self.of_training(_some(self.train_size, count).to(self.train.device))

    def of_training(self, numbers: Tensor) -> Tensor:
        """Where in `train` those images are that are the `numbers`-th to train on."""
        return numbers if self.trained is None else self.trained[numbers]


def load_images(prepared: Prepared, device: torch.device, validation: int = 0) -> Images:
    """Map the prepared arrays; on a CPU the processes share their pages.

    So many of the training images are held out for `validation`: by index, not by a copy.
    """
    train, train_labels, test, test_labels = (
        torch.from_numpy(array).to(device) for array in load_arrays(prepared)
    )
    whole = Images(train, train_labels, test, test_labels, torch.empty(0, dtype=torch.int64))
    if validation:
        held, left = (part.to(device) for part in split(len(train), validation))
        whole = replace(whole, trained=left, validation=held)
    return replace(whole, train_part=whole.part(len(test)))


def _some(images: int, count: int) -> Tensor:
    """So many numbers of images in order, drawn by a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(images, generator=generator)[:count].sort().values


def split(images: int, held: int) -> tuple[Tensor, Tensor]:
    """Which of so many images are held out (held,) and which are left: a function of both alone.

    It is drawn on the CPU by a fixed seed, so that every trial, seed and device has the same one.
    """
    order = torch.randperm(images, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[:held].sort().values, order[held:].sort().values


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

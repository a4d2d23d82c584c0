"""Loads the images of a data set onto the device, and draws the order in which they are used."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import load_arrays

Part = Literal["train", "test", "validation"]
SPLIT_SEED = 1  # not the seed of any trial's order, which is a hash of seed and epoch


class Samples(Protocol):
    """Samples that batches are made of."""

    def batch(self, numbers: Tensor) -> Any:
        """Return the samples of these numbers, shape (B,), as one batch."""


class Labeled(NamedTuple):
    """Images (N, C, H, W) and their labels (N,)."""

    images: Tensor
    labels: Tensor

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and labels of these numbers."""
        return self.images[numbers], self.labels[numbers]


class TrainingData(Protocol):
    """The data of a training on one device: the images of a data set, or those of a task.

    Attributes:
        samples: the samples of `train`, also those held out for validation.
        train_size: number of samples to train on.
        test_size: number of test samples.
        validates: whether there are validation samples.
        train_part: numbers in `samples` of a fixed part on which training figures are computed.
    """

    @property
    def samples(self) -> Samples: ...  # noqa: D102
    @property
    def train_size(self) -> int: ...  # noqa: D102
    @property
    def test_size(self) -> int: ...  # noqa: D102
    @property
    def validates(self) -> bool: ...  # noqa: D102
    @property
    def train_part(self) -> Tensor: ...  # noqa: D102

    def batches(self, part: Part, size: int) -> Iterator[Any]:
        """Yield the batches of a part, of at most `size` samples; none if the part is empty."""

    def held(self) -> list[Tensor]:
        """Return every tensor that is kept in memory."""

    def part(self, count: int) -> Tensor:
        """Return the numbers in `samples` of a fixed random part of those to train on."""

    def of_training(self, numbers: Tensor) -> Tensor:
        """Convert numbers of samples to train on (0, 1, …) to numbers in `samples`."""


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a data set on one device.

    Attributes:
        train: normalized images, shape (N, C, H, W), float32; also those held out for validation.
        train_labels: their labels, shape (N,), int64.
        test: normalized test images.
        test_labels: their labels.
        train_part: indices in `train` of a fixed part, as large as the test set, on which training
            loss and accuracy are computed.
        trained: indices in `train` of the images to train on; None for all.
        validation: indices in `train` of the images held out for validation; None for none.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    train_part: Tensor
    trained: Tensor | None = None
    validation: Tensor | None = None

    def held(self) -> list[Tensor]:
        """Return every tensor."""
        labels = [self.train_labels, self.test_labels]
        split = [part for part in (self.trained, self.validation) if part is not None]
        return [self.train, self.test, *labels, self.train_part, *split]

    @property
    def samples(self) -> Labeled:
        """The images of `train` with their labels."""
        return Labeled(self.train, self.train_labels)

    @property
    def test_size(self) -> int:
        """Number of test images."""
        return len(self.test)

    @property
    def train_size(self) -> int:
        """Number of images to train on."""
        return len(self.train) if self.trained is None else len(self.trained)

    @property
    def validates(self) -> bool:
        """Whether any images are held out for validation."""
        return self.validation is not None

    def batches(self, part: Part, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of a part in batches of at most `size`.

        Nothing is yielded for "validation" if no images are held out.
        """
        if part == "test":
            parts = torch.split(self.test, size), torch.split(self.test_labels, size)
            yield from zip(*parts, strict=True)
            return
        index = self.train_part if part == "train" else self.validation
        for chosen in torch.split(index, size) if index is not None else ():
            yield self.train[chosen], self.train_labels[chosen]

    def part(self, count: int) -> Tensor:
        """Return the indices in `train` of a fixed random part of the images to train on.

        A smaller part is contained in a larger one; `train_part` is one of them.

        Args:
            count: images of the part; all if there are fewer.
        """
        return self.of_training(_draw_sorted(self.train_size, count).to(self.train.device))

    def of_training(self, numbers: Tensor) -> Tensor:
        """Convert numbers of images to train on (0, 1, …) to indices in `train`."""
        return numbers if self.trained is None else self.trained[numbers]


def load_images(prepared: Prepared, device: torch.device, validation: int = 0) -> Images:
    """Check and load the prepared arrays; on a CPU they are mapped: all processes share the memory.

    Args:
        prepared: the data set on disk.
        device: where to put the images.
        validation: number of training images to hold out, by index and not by a copy.

    Raises:
        DataError: the arrays are missing, or a byte has changed since they were prepared.
    """
    train, train_labels, test, test_labels = (
        torch.from_numpy(array).to(device) for array in load_arrays(prepared)
    )
    images = Images(train, train_labels, test, test_labels, torch.empty(0, dtype=torch.int64))
    if validation:
        held, left = (part.to(device) for part in split(len(train), validation))
        images = replace(images, trained=left, validation=held)
    return replace(images, train_part=images.part(len(test)))


def _draw_sorted(images: int, count: int) -> Tensor:
    """Return `count` of the numbers below `images`, drawn with a fixed seed and sorted."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(images, generator=generator)[:count].sort().values


def split(images: int, held: int) -> tuple[Tensor, Tensor]:
    """Return the sorted indices of the images held out, shape (held,), and of those left.

    They are drawn on the CPU with a fixed seed, so they are the same for every trial, seed and
    device.
    """
    order = torch.randperm(images, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[:held].sort().values, order[held:].sort().values


def in_batches(order: Tensor, size: int, joins: bool = False) -> tuple[Tensor, ...]:
    """Divide the rest of an epoch's order (R, N) into batches (R, B), the last of which has fewer.

    With `joins`, a last batch of one image joins the batch before it.
    """
    batches: tuple[Tensor, ...] = torch.split(order, size, 1)
    if joins and len(batches) > 1 and batches[-1].shape[1] == 1:
        return (*batches[:-2], order[:, -(size + 1) :])
    return batches


def epoch_order(train_size: int, seed: int, epoch: int, replacement: bool = False) -> Tensor:
    """Return the order of the images in one epoch, shape (N,).

    It depends only on seed and epoch. It is drawn on the CPU, so it is the same on every device. It
    does not depend on the batch size, so trials of one seed are paired.

    Args:
        train_size: N, the number of images to train on.
        seed: seed of the trial.
        epoch: number of the epoch.
        replacement: whether N images are drawn independently, instead of each image once.
    """
    # torch's CPU generator uses only 32 bits of a seed, so seed and epoch are hashed first
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    generator = torch.Generator().manual_seed(mixed)
    if replacement:
        return torch.randint(train_size, (train_size,), generator=generator)
    return torch.randperm(train_size, generator=generator)

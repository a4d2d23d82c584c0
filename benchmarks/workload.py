"""The work that every training loop does: networks, batch sizes, images and steps."""

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.spec import Model
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.model.build import build_model

DATASET = DATASETS["mnist"]
NETWORKS = {
    "mlp 128-64": Model(name="mlp", hidden=(128, 64)),
    "mlp 1024-1024": Model(name="mlp", hidden=(1024, 1024)),
    "cnn": Model(name="cnn"),
}
NARROW = "mlp 128-64"
SIZES = tuple(1 << power for power in range(13))
LR = 0.01
INKED = 0.19  # share of MNIST's pixels that are not blank
CPU = torch.device("cpu")


class Stock:
    """A whole training set, as tensors on the device and as pixels."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.device = device
        self.tensors = (images.train, images.train_labels)
        self.images = Images(
            train=images.train.to(device),
            train_labels=images.train_labels.to(device),
            test=images.test[:1].to(device),  # so that an evaluation takes almost no time
            test_labels=images.test_labels[:1].to(device),
            train_part=torch.zeros(1, dtype=torch.int64, device=device),
        )

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.tensors[0])

    @cached_property
    def pixels(self) -> Tensor:
        """The images (N, H, W) as bytes."""
        mean, std = DATASET.mean[0], DATASET.std[0]
        return ((self.tensors[0] * std + mean) * 255).round().to(torch.uint8).squeeze(1)


@dataclass(frozen=True)
class Work:
    """`epochs` epochs of `per_epoch` whole batches each, after `warm` steps that are not timed."""

    network: str
    batch_size: int
    stock: Stock
    per_epoch: int
    epochs: int
    warm: int = 3

    @property
    def device(self) -> torch.device:
        """The device of the training."""
        return self.stock.device

    @property
    def steps(self) -> int:
        """The number of timed steps."""
        return self.per_epoch * self.epochs

    def sized(self, seconds_a_step: float, seconds: float) -> "Work":
        """Return the same work for about `seconds`, with the longest possible epochs."""
        steps = max(4, round(seconds / seconds_a_step))
        per_epoch = max(1, min(steps, self.stock.size // self.batch_size))
        epochs = -(-steps // per_epoch)
        return replace(self, per_epoch=per_epoch, epochs=epochs, warm=max(3, min(30, steps // 20)))

    def drawn(self) -> Tensor:
        """Return n image indices, different each time, so that no loop finds the images cached."""
        return torch.randperm(self.stock.size)[: self.per_epoch * self.batch_size]

    def model(self) -> nn.Module:
        """Return the network, with the same initial weights for every loop."""
        return build_model(NETWORKS[self.network], DATASET, seed=0).to(self.device)


def stock_of(data_dir: str | None, device: torch.device) -> Stock:
    """Read MNIST from a folder in torchvision's layout, or simulate images of its size."""
    if data_dir is None:
        return Stock(_made_up(), device)
    with tempfile.TemporaryDirectory() as home:  # a mapped file stays readable after its deletion
        images = load_images(prepare("mnist", Path(home), Path(data_dir)), CPU)
        return Stock(images, device)


def _made_up() -> Images:
    count, generator = DATASET.train_size, torch.Generator().manual_seed(0)
    shape = (count, *DATASET.shape)
    pixels = torch.rand(shape, generator=generator)
    pixels = ((pixels - (1 - INKED)).clamp_min_(0) * (255 / INKED)).round_() / 255
    train = (pixels - DATASET.mean[0]) / DATASET.std[0]
    labels = torch.randint(DATASET.classes, (count,), generator=generator)
    return Images(train, labels, train[:1], labels[:1], torch.zeros(1, dtype=torch.int64))

"""Other training loops to compare with; each returns the seconds that its timed steps take."""

import importlib
import importlib.util
import itertools
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset
from workload import DATASET, LR, Work

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.torchvision_compat import import_torchvision

Contender = Callable[[Work], float]
Batches = Iterator[tuple[Tensor, Tensor]]


def now(device: torch.device) -> float:
    """Return the time in seconds, once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# ---- a loop that indexes a tensor


def plain(work: Work) -> float:
    """Train with a plain loop: the images are one tensor of floats, a batch is an index into it."""
    images, labels = work.stock.images.train, work.stock.images.train_labels
    model, size, drawn = work.model(), work.batch_size, work.drawn().to(work.device)
    optimizer = optim.SGD(model.parameters(), lr=LR)

    def epoch(steps: int) -> None:
        order = drawn[torch.randperm(len(drawn), device=work.device)]
        for at in range(0, steps * size, size):
            index = order[at : at + size]
            optimizer.zero_grad()
            functional.cross_entropy(model(images[index]), labels[index]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    epoch(min(work.warm, work.per_epoch))
    began = now(work.device)
    for _ in range(work.epochs):
        epoch(work.per_epoch)
    return now(work.device) - began


# ---- as PyTorch's MNIST example does it


class Pictures(Dataset[tuple[Any, int]]):
    """Images as torchvision's data sets return them: a picture after a transform."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        import_torchvision()
        transforms: Any = importlib.import_module("torchvision.transforms")
        self._picture: Any = importlib.import_module("PIL.Image").fromarray
        self._pixels, self._labels = pixels, labels
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(DATASET.mean, DATASET.std)]
        )

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        picture = self._picture(self._pixels[at].numpy())
        return self._transform(picture), int(self._labels[at])


def picture_loader(work: Work) -> DataLoader[Any]:
    """Return a DataLoader of pictures, shuffled every epoch."""
    return _loader(work, Pictures(work.stock.pixels, work.stock.tensors[1]))


def tensor_loader(work: Work) -> DataLoader[Any]:
    """Return a DataLoader of tensors, shuffled every epoch."""
    return _loader(work, TensorDataset(*work.stock.tensors))


def _loader(work: Work, data: Dataset[Any]) -> DataLoader[Any]:
    """Return a DataLoader with default options on a CPU, and one loading process on a GPU.

    This is how PyTorch's MNIST example does it.
    """
    on_gpu: dict[str, Any] = {"num_workers": 1, "pin_memory": True, "persistent_workers": True}
    sampler = SubsetRandomSampler(work.drawn().tolist())
    settings = on_gpu if work.device.type == "cuda" else {}
    return DataLoader(data, work.batch_size, sampler=sampler, **settings)


def data_loader(work: Work) -> float:
    """Train with a DataLoader over pictures with transforms."""
    model, device = work.model(), work.device
    optimizer, loader = optim.SGD(model.parameters(), lr=LR), picture_loader(work)

    def epoch(batches: Batches) -> None:
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    epoch(itertools.islice(loader, work.warm))
    began = now(device)
    for _ in range(work.epochs):
        epoch(iter(loader))
    return now(device) - began


# ---- Lightning


def has_lightning() -> bool:
    """Return whether Lightning is installed (the extra `benchmarks`)."""
    return importlib.util.find_spec("lightning") is not None


def lightning_pictures(work: Work) -> float:
    """Train with Lightning's Trainer over the DataLoader of pictures."""
    return _lightning(work, picture_loader(work))


def lightning_tensors(work: Work) -> float:
    """Train with Lightning's Trainer over the DataLoader of tensors."""
    return _lightning(work, tensor_loader(work))


def _lightning(work: Work, loader: DataLoader[Any]) -> float:
    """Train with Lightning without logger, checkpoints, progress bars and checks (`barebones`)."""
    import_torchvision()  # lightning imports it
    lightning: Any = importlib.import_module("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    network, device = work.model(), work.device
    first, last = work.warm, work.warm + work.steps
    taken: dict[int, float] = {}

    class Fitted(lightning.LightningModule):  # type: ignore[misc]
        """A Lightning module with the same network, loss and optimizer."""

        def __init__(self) -> None:
            super().__init__()
            self.network: nn.Module = network

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            images, labels = batch
            return functional.cross_entropy(self.network(images), labels)

        def configure_optimizers(self) -> optim.Optimizer:
            return optim.SGD(self.parameters(), lr=LR)

    class Watch(lightning.Callback):  # type: ignore[misc]
        """Records the time after the warm-up and after the last step."""

        def on_train_batch_end(self, trainer: Any, *_: object) -> None:
            if trainer.global_step in (first, last):
                taken[trainer.global_step] = now(device)

    where = [device.index or 0] if device.type == "cuda" else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=where,
            max_steps=last,
            max_epochs=-1,
            barebones=True,
            callbacks=[Watch()],
        )
        trainer.fit(Fitted(), loader)
    return taken[last] - taken[first]


def contenders() -> dict[str, Contender]:
    """Return all training loops by name; Lightning only if it is installed."""
    by_name: dict[str, Contender] = {"plain loop": plain, "DataLoader": data_loader}
    if has_lightning():
        by_name |= {"Lightning": lightning_pictures, "Lightning, tensors": lightning_tensors}
    return by_name

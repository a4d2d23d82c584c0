"""The mean loss of a network over fixed training samples, with its gradient.

It is computed in evaluation mode, so it does not depend on how the samples are cut.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch.nn import functional

from batchscope.engine.task import TaskProblem
from batchscope.engine.training.batches import Images, TrainingData
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.tasks.weighted_sum import as_tensor, summed


class MeanLoss(Protocol):
    """A loss over `size` samples."""

    size: int

    def gradient(self, cut: int) -> float:
        """Compute the gradient (P,) of the mean loss into the network's buffer.

        Args:
            cut: the most samples in one forward and backward pass.

        Returns:
            The mean loss, summed in float64.
        """


class ImagesLoss:
    """Mean cross-entropy in nats over some of the training images.

    Args:
        flat: the network.
        images: the data set.
        samples: the number of images.
        check_cancelled: called before each micro-batch; it may wait or raise.
    """

    def __init__(
        self, flat: FlatModel, images: Images, samples: int, check_cancelled: Callable[[], None]
    ) -> None:
        self._flat, self._images, self._check_cancelled = flat, images, check_cancelled
        self._part = images.part(samples)
        self.size = len(self._part)

    def gradient(self, cut: int) -> float:
        """Compute loss and gradient; see `MeanLoss.gradient`."""
        flat, images = self._flat, self._images
        flat.gradient.zero_()
        total = torch.zeros((), dtype=torch.float64, device=flat.gradient.device)
        for some in torch.split(self._part, cut):
            self._check_cancelled()
            logits = flat.logits(images.train[some])
            losses = functional.cross_entropy(logits, images.train_labels[some], reduction="none")
            (losses.sum() / self.size).backward()  # type: ignore[no-untyped-call]
            total += losses.detach().double().sum()
        return float(total) / self.size


class TaskLoss:
    """The loss of a task over some of its training samples: Σ sums ÷ Σ weights.

    Each evaluation draws the same random numbers, should the loss draw any in evaluation mode.

    Args:
        flat: the network.
        data: the data of the task.
        samples: the number of samples.
        check_cancelled: called before each micro-batch; it may wait or raise.
    """

    def __init__(
        self, flat: FlatModel, data: TaskDataset, samples: int, check_cancelled: Callable[[], None]
    ) -> None:
        self._flat, self._data, self._check_cancelled = flat, data, check_cancelled
        self._part = data.part(samples)
        self.size = len(self._part)

    def gradient(self, cut: int) -> float:
        """Compute loss and gradient; see `MeanLoss.gradient`.

        Raises:
            TaskProblem: the samples have no weight.
        """
        flat = self._flat
        self._clear()
        total = torch.zeros((), dtype=torch.float64, device=flat.gradient.device)
        weights = torch.zeros_like(total)
        for number, some in enumerate(torch.split(self._part, cut)):
            self._check_cancelled()
            batch = self._data.samples.batch(some)
            self._data.samples.seed_evaluation(number)
            with flat.cast(flat.gradient.device.type):
                loss, weight = summed("loss", self._data.task.loss, flat.model, batch)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().double()
            weights += as_tensor(weight, loss)
        if not float(weights) > 0.0:
            raise TaskProblem(f"loss: {self.size:,} training samples have no weight together")
        flat.gradient.div_(weights)
        return float(total / weights)

    def _clear(self) -> None:
        """Set the gradient to zero; a step may have taken it from parameters that it lacked."""
        flat = self._flat
        flat.gradient.zero_()
        parameters = flat.trained()
        for parameter, window in zip(parameters, windows(parameters), strict=True):
            parameter.grad = flat.gradient[window].view_as(parameter)


def mean_loss(
    flat: FlatModel, data: TrainingData, samples: int, check_cancelled: Callable[[], None]
) -> MeanLoss:
    """Return the mean loss over a fixed random part of the training samples.

    Args:
        flat: the network.
        data: the data.
        samples: the number of samples; all if there are fewer.
        check_cancelled: called before each micro-batch; it may wait or raise.
    """
    if isinstance(data, TaskDataset):
        return TaskLoss(flat, data, samples, check_cancelled)
    assert isinstance(data, Images)
    return ImagesLoss(flat, data, samples, check_cancelled)

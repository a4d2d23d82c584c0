"""Computes loss and accuracy of all replicates at fixed weights, in batches that fit in memory."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.task import Batch, Scored, Task
from batchscope.engine.training.batches import Part, TrainingData
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.modes import evaluating
from batchscope.engine.training.model.passes import Classifier
from batchscope.engine.training.peak_memory import measured, ran_out
from batchscope.engine.training.tasks.class_errors import class_errors
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.tasks.weighted_sum import as_tensor, checked, summed
from batchscope.engine.training.trainer.train_step import Stepper

ACCURACY = "accuracy"
"""The metric of a task that takes the place of the accuracy on images."""


class Evaluation(NamedTuple):
    """Mean loss, the fraction classified correctly (None without one), and other metrics.

    The loss of images is the mean cross-entropy per sample in nats.
    """

    loss: float
    accuracy: float | None
    metrics: Mapping[str, float] = MappingProxyType({})


class Predictions(NamedTuple):
    """What R replicates predict for N test samples.

    Attributes:
        missed: (predicted − label) mod `classes`, shape (R, N), uint8 on the host.
        classes: number of classes.
        labels: CRC-32 of the right classes of a task; 0 for images.
    """

    missed: Tensor
    classes: int
    labels: int = 0


@torch.no_grad()
def evaluate(
    passes: Classifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    missed: list[Tensor] | None = None,
) -> list[Evaluation]:
    """Evaluate every replicate; losses are summed in float64.

    It waits for the device once, at the end.

    Args:
        passes: classifies the images.
        batches: pairs of images (B, C, H, W) and labels (B,).
        missed: a list to which (predicted − label) mod classes is appended for each batch, shape
            (R, B), uint8.

    Returns:
        The evaluation of each of the R replicates.
    """
    totals, count = None, 0
    for images, labels in batches:
        logits = passes.logits(images)
        replicates, size, _ = logits.shape
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels.repeat(replicates), reduction="none"
        )
        predicted = logits.argmax(2)
        right = (predicted == labels).sum(1)
        if missed is not None:
            missed.append(((predicted - labels) % logits.shape[2]).to(torch.uint8))
        sums = torch.stack([losses.view(replicates, size).double().sum(1), right.double()], 1)
        totals = sums if totals is None else totals + sums
        count += size
    assert totals is not None, "there are images"
    return [Evaluation(loss / count, right / count) for loss, right in totals.tolist()]


@torch.no_grad()
def evaluate_task(task: Task, flat: FlatModel, batches: Iterable[Batch]) -> Evaluation:
    """Evaluate the model of a task; sums and weights are added in float64.

    Without batches all figures are NaN. It waits for the device once, at the end.

    Raises:
        TaskProblem: the loss or a metric returned something else than a sum and a weight.
    """
    functions = {"loss": task.loss, **task.metrics}
    sums: dict[str, float | Tensor] = dict.fromkeys(functions, 0.0)
    weights: dict[str, float | Tensor] = dict.fromkeys(functions, 0.0)
    with evaluating(flat.model):
        for batch in batches:
            for name, of in functions.items():
                with flat.cast(flat.gradient.device.type):
                    total, weight = summed(name, of, flat.model, batch)
                sums[name] = sums[name] + total.double()
                weights[name] = weights[name] + as_tensor(weight, total)
    means = {
        name: _ratio(float(sums[name]), checked(name, of, float(weights[name])))
        for name, of in functions.items()
    }
    loss, accuracy = means.pop("loss"), means.pop(ACCURACY, None)
    return Evaluation(loss, accuracy, means)


def _ratio(total: float, weight: float) -> float:
    return total / weight if weight > 0.0 else math.nan


Cut = Callable[[int], None]
Found = TypeVar("Found")


class Evaluator:
    """Evaluates the networks of a stack; halves the evaluation batch when memory runs out.

    Args:
        stepper: holds the networks.
        images: the data set.
        batch_size: images of a batch at first.
        cut: called with the new batch size after it was halved.

    Attributes:
        batch_size: images of a batch.
        peak_bytes: peak of live tensor bytes over all that was measured, on a CPU.
    """

    def __init__(self, stepper: Stepper, images: TrainingData, batch_size: int, cut: Cut) -> None:
        self._stepper, self._images, self._cut = stepper, images, cut
        self.batch_size, self.peak_bytes = batch_size, 0
        self._missed: list[Tensor] = []

    def figures(self, *on: Part, first: bool) -> list[list[Evaluation]]:
        """Evaluate each replicate on each part of the images.

        Args:
            on: parts of the images.
            first: whether to measure memory, which is done once a training.
        """

        def work() -> list[list[Evaluation]]:
            with self.measured() if first else nullcontext():
                return [self._figures(part) for part in on]

        return self._fitting(work)

    def predictions(self) -> Predictions | None:
        """Return what each replicate predicts for the test data; None if it predicts no classes.

        For images this is the result of the last evaluation. A task is asked for its scores.

        Raises:
            TaskProblem: the task's `scores` cannot be used.
        """
        images = self._images
        if not isinstance(images, TaskDataset):
            if not self._missed:
                return None
            classes = DATASETS[self._stepper.settings.data.name].classes
            return Predictions(torch.cat(self._missed, 1).cpu(), classes)
        scores = images.task.scores
        if scores is None or not images.test_size:
            return None
        return self._fitting(lambda: self._predicted(images, scores))

    def _predicted(self, data: TaskDataset, scores: Scored) -> Predictions:
        flat, missed, classes, labels = self._stepper.stack.members[0], list[Tensor](), 0, 0
        with evaluating(flat.model):
            for batch in data.batches("test", self.batch_size):
                with flat.cast(flat.gradient.device.type):
                    found = class_errors(scores, flat.model, batch, labels)
                missed.append(found.missed)
                classes, labels = found.classes, found.labels
        return Predictions(torch.cat(missed).unsqueeze(0), classes, labels)

    def _fitting(self, work: Callable[[], Found]) -> Found:
        """Do something in batches of `batch_size`, which is halved until they fit in memory."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.batch_size == 1:
                    raise
            self.batch_size = -(-self.batch_size // 2)
            self._cut(self.batch_size)

    def _figures(self, part: Part) -> list[Evaluation]:
        passes, batches = self._stepper.stack.passes, self._images.batches(part, self.batch_size)
        if isinstance(self._images, TaskDataset):
            return [evaluate_task(self._images.task, self._stepper.stack.members[0], batches)]
        assert isinstance(passes, Classifier)
        if part != "test":
            return evaluate(passes, batches)
        self._missed = []
        return evaluate(passes, batches, self._missed)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the peak memory of the body on a CPU; on a GPU torch measures it by itself."""
        device = self._stepper.stack.weights.device
        if device.type != "cpu":
            yield
            return
        held = [*self._images.held(), *self._stepper.held()]
        with measured(device, held) as peak:
            yield
        self.peak_bytes = max(self.peak_bytes, peak.bytes)

"""Measures loss and accuracy along the straight line between the final weights of two trials.

Goodfellow et al. 2015 (arXiv:1412.6544) measure the loss along a line through weight space; Keskar
et al. 2016 (arXiv:1609.04836), figure 3, along the line from a small-batch to a large-batch
solution, with α from −1 to 2.

Batch norm's running statistics are valid only for the weights with which they were computed, and
between two networks neither statistics nor their mean are valid. So they are computed again at
every point, including both ends, over the training images that the line is measured on: as means
over micro-batches of equal weight (as Izmailov et al. 2018, arXiv:1803.05407, do for averaged
weights).
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import Interpolated, LinePoint
from batchscope.engine.planning.plan import Plan
from batchscope.engine.processes.orders import Interpolate
from batchscope.engine.task import Batch
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import Classifier, Pass, alone
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.tasks.task_dataset import TaskDataset, TaskSamples
from batchscope.engine.training.trainer.evaluation import Evaluation, evaluate, evaluate_task
from batchscope.engine.training.trainer.event_builders import finite_or_none
from batchscope.engine.training.trainer.final_weights import load

NORMS = nn.modules.batchnorm._BatchNorm


def interpolate(
    order: Interpolate,
    images: TrainingData,
    device: torch.device,
    check_cancelled: Callable[[], None],
) -> Interpolated:
    """Evaluate the network at every point of a line.

    Args:
        order: the two trials, the folders of their final weights, and the points.
        images: the data set, or the data of a task, made with the seed of both trials.
        device: where to compute.
        check_cancelled: called before each micro-batch; it may wait or raise.

    Raises:
        Unreadable: final weights are missing, damaged or of another network.
    """
    began, settings = time.perf_counter(), order.members[0].settings
    if isinstance(images, TaskDataset):
        model, objective = images.network(), images.task.loss
    else:
        model, objective = build_model(settings.model, DATASETS[settings.data.name], 0), None
    flat = FlatModel(model, device, precision=order.plan.precision, objective=objective)
    start, end = (load(Path(folder), len(flat.weights)).to(device) for folder in order.weights)
    part = images.train_part if order.line.samples is None else images.part(order.line.samples)
    line = _Line(flat, images, part, order.plan, check_cancelled)
    points = [line.point(start, end, alpha) for alpha in order.line.alphas]
    return Interpolated(
        start=order.members[0].id,
        end=order.members[1].id,
        points=tuple(points),
        samples=len(part),
        recalibrated=line.recalibrates,
        seconds=time.perf_counter() - began,
    )


class _Line:
    """A network, evaluated at one point of the line after the other."""

    def __init__(
        self,
        flat: FlatModel,
        images: TrainingData,
        part: Tensor,
        plan: Plan,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._flat, self._images, self._part, self._check_cancelled = (
            flat,
            images,
            part,
            check_cancelled,
        )
        self._size = plan.evaluation_batch_size
        self._passes: Pass = alone(flat, plan.layout == "channels-last")
        norms = [each for each in flat.model.modules() if isinstance(each, NORMS)]
        self._norms = [each for each in norms if each.training and each.track_running_stats]

    @property
    def recalibrates(self) -> bool:
        """Whether the network has batch norm statistics, which are computed at every point."""
        return bool(self._norms)

    def point(self, start: Tensor, end: Tensor, alpha: float) -> LinePoint:
        """Evaluate (1 − α) · start + α · end; halve the batch whenever memory runs out.

        Args:
            start: shape (P,).
            end: shape (P,).
            alpha: α.
        """
        while True:
            try:
                train, test = self._measure(start, end, alpha)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self._size == 1:
                    raise
                self._size = -(-self._size // 2)
                continue
            return LinePoint(
                alpha,
                finite_or_none(train.loss),
                train.accuracy,
                finite_or_none(test.loss),
                test.accuracy,
            )

    def _measure(self, start: Tensor, end: Tensor, alpha: float) -> tuple[Evaluation, Evaluation]:
        weights = self._flat.weights.detach()
        torch.lerp(start, end, alpha, out=weights)  # exact at both ends
        if self._norms:
            self._recalibrate()
        test = self._checked(self._images.batches("test", self._size))
        return self._evaluated(self._batches()), self._evaluated(test)

    def _evaluated(self, batches: Iterable[Batch]) -> Evaluation:
        """Evaluate the present weights; without batches the loss is NaN."""
        if isinstance(self._images, TaskDataset):
            return evaluate_task(self._images.task, self._flat, batches)
        assert isinstance(self._passes, Classifier)
        return evaluate(self._passes, batches)[0]

    def _batches(self) -> Iterator[Batch]:
        parts = torch.split(self._part, self._size)
        return self._checked(map(self._batch, itertools.count(), parts))

    def _batch(self, number: int, part: Tensor) -> Batch:
        samples = self._images.samples
        batch = samples.batch(part)
        if isinstance(samples, TaskSamples):
            samples.seed_evaluation(number)
        return batch

    def _checked(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, and check for cancellation before each."""
        for batch in batches:
            self._check_cancelled()
            yield batch

    @torch.no_grad()
    def _recalibrate(self) -> None:
        """Recompute batch norm's running means and variances on the training part."""
        with _averaging(self._norms):
            sizes = [len(some) for some in torch.split(self._part, self._size)]
            for size, batch in zip(sizes, self._batches(), strict=True):
                if size > 1:  # one image has no variance
                    self._pass(batch)

    def _pass(self, batch: Batch) -> None:
        """Pass a batch through the network, for the statistics that this computes."""
        if isinstance(self._images, TaskDataset):
            with self._flat.cast(self._flat.gradient.device.type):
                self._images.task.loss(self._flat.model, batch)
        else:
            self._flat.logits(batch[0])


@contextmanager
def _averaging(norms: list[NORMS]) -> Iterator[None]:
    """Reset the statistics of layers, and let them average batches with equal weights."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

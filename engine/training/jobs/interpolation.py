"""Loss and accuracy along the straight line between the final weights of two trials.

Goodfellow et al. 2015 (arXiv:1412.6544) look at the loss along a line through weight space; Keskar
et al. 2016 (arXiv:1609.04836), figure 3, at that from a small-batch to a large-batch solution, with
α from −1 to 2.

Batch norm's running statistics belong to the weights that they were gathered with: between two
networks neither's hold, nor does a mean of both. So at every point, the ends included, they are
taken anew over the training images that the line is measured on (as Izmailov et al. 2018,
arXiv:1803.05407, do for averaged weights): of each micro-batch, all weighing the same.
"""

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
from batchscope.engine.training.batches import Images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import Pass, alone
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.trainer.evaluation import Evaluation, evaluate
from batchscope.engine.training.trainer.event_builders import known
from batchscope.engine.training.trainer.final_weights import take_up

NORMS = nn.modules.batchnorm._BatchNorm
Batch = tuple[Tensor, Tensor]
"""Images and labels."""


def interpolate(
    order: Interpolate, images: Images, device: torch.device, go_on: Callable[[], None]
) -> Interpolated:
    """The figures of every point; `go_on` is called before each micro-batch and may raise.

    Raises:
        Unreadable: final weights are not there.
    """
    began, settings = time.perf_counter(), order.members[0].settings
    model = build_model(settings.model, DATASETS[settings.data.name], 0)
    flat = FlatModel(model, device, precision=order.plan.precision)
    start, end = (take_up(Path(folder), len(flat.weights)).to(device) for folder in order.weights)
    part = images.train_part if order.line.samples is None else images.part(order.line.samples)
    line = _Line(flat, images, part, order.plan, go_on)
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
    """A network that is put to one point after the other."""

    def __init__(
        self,
        flat: FlatModel,
        images: Images,
        part: Tensor,
        plan: Plan,
        go_on: Callable[[], None],
    ) -> None:
        self._flat, self._images, self._part, self._go_on = flat, images, part, go_on
        self._size = plan.evaluation_batch_size
        self._passes: Pass = alone(flat, plan.layout == "channels-last")
        self._norms = [each for each in flat.model.modules() if isinstance(each, NORMS)]

    @property
    def recalibrates(self) -> bool:
        """Whether the network has statistics to take anew."""
        return bool(self._norms)

    def point(self, start: Tensor, end: Tensor, alpha: float) -> LinePoint:
        """Figures at (1 − α) · start + α · end; in smaller pieces where memory runs out."""
        while True:
            try:
                train, test = self._measure(start, end, alpha)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self._size == 1:
                    raise
                self._size = -(-self._size // 2)
                continue
            return LinePoint(
                alpha, known(train.loss), train.accuracy, known(test.loss), test.accuracy
            )

    def _measure(self, start: Tensor, end: Tensor, alpha: float) -> tuple[Evaluation, Evaluation]:
        weights = self._flat.weights.detach()
        torch.lerp(start, end, alpha, out=weights)  # exact at both ends
        if self._norms:
            self._recalibrate()
        (train,) = evaluate(self._passes, self._batches())
        (test,) = evaluate(self._passes, self._listening(self._images.batches("test", self._size)))
        return train, test

    def _batches(self) -> Iterator[Batch]:
        images = self._images
        split = torch.split(self._part, self._size)
        return self._listening((images.train[some], images.train_labels[some]) for some in split)

    def _listening(
        self, batches: Iterable[tuple[Tensor, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches:
            self._go_on()
            yield batch

    @torch.no_grad()
    def _recalibrate(self) -> None:
        """Have batch norm take mean and variance of the training part at these weights."""
        with _averaging(self._norms):
            self._flat.model.train()
            for images, _ in self._batches():
                if len(images) > 1:  # one image has no variance
                    self._flat.logits(images)


@contextmanager
def _averaging(norms: list[NORMS]) -> Iterator[None]:
    """Have layers begin their statistics anew, as a plain mean over what they are given."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

"""Loss and accuracy at fixed weights, of all replicates of a training, in pieces that fit."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from batchscope.engine.training.batches import Images, Part
from batchscope.engine.training.model.passes import Pass
from batchscope.engine.training.peak_memory import measured, ran_out
from batchscope.engine.training.trainer.train_step import Stepper


class Evaluation(NamedTuple):
    """Mean cross-entropy per sample (nats) and the fraction classified right."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    passes: Pass,
    batches: Iterable[tuple[Tensor, Tensor]],
    missed: list[Tensor] | None = None,
) -> list[Evaluation]:
    """Evaluate every replicate on batches of (images, labels); losses are summed in float64.

    To `missed` is added for each batch what it is off by, (R, images) uint8: (predicted − label)
    mod classes. The device is waited for once, at the end.
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


Cut = Callable[[int], None]


class Evaluator:
    """Evaluates the networks of a stack; where memory runs out, in smaller pieces from then on.

    `cut` is told their new size.

    Attributes:
        batch_size: images of a piece.
        peak_bytes: the most live tensor bytes of what was measured so far, on a CPU.
        missed: by how much each replicate missed the classes of the test images, piece by piece,
            when they were last evaluated.
    """

    def __init__(self, stepper: Stepper, images: Images, batch_size: int, cut: Cut) -> None:
        self._stepper, self._images, self._cut = stepper, images, cut
        self.batch_size, self.peak_bytes = batch_size, 0
        self.missed: list[Tensor] = []

    def figures(self, *on: Part, first: bool) -> list[list[Evaluation]]:
        """On each part of the images, each replicate's; memory is measured the `first` time."""
        while True:
            try:
                with self.measured() if first else nullcontext():
                    return [self._figures(part) for part in on]
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.batch_size == 1:
                    raise
            self.batch_size = -(-self.batch_size // 2)
            self._cut(self.batch_size)

    def _figures(self, part: Part) -> list[Evaluation]:
        passes, batches = self._stepper.stack.passes, self._images.batches(part, self.batch_size)
        if part != "test":
            return evaluate(passes, batches)
        self.missed = []
        return evaluate(passes, batches, self.missed)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Have what is live counted on a CPU, where nobody else does; on a GPU torch does."""
        device = self._stepper.stack.weights.device
        if device.type != "cpu":
            yield
            return
        held = [*self._images.held(), *self._stepper.held()]
        with measured(device, held) as peak:
            yield
        self.peak_bytes = max(self.peak_bytes, peak.bytes)

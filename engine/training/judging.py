"""The figures of all replicates of a training on parts of the images, in pieces that fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor

from engine.training.evaluation import Figures, evaluate
from engine.training.images import Images, Part
from engine.training.memory import measured, ran_out
from engine.training.stepping import Stepper

Cut = Callable[[int], None]


class Judge:
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

    def figures(self, *on: Part, first: bool) -> list[list[Figures]]:
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

    def _figures(self, part: Part) -> list[Figures]:
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

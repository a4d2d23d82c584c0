"""What is measured at the moments at which a training holds still."""

import time
from collections.abc import Callable

from engine.events import Competition, Draws
from engine.plan import Plan
from engine.spec import Trial
from engine.training.competition import compete
from engine.training.drawing import Drawing
from engine.training.flat import FlatModel
from engine.training.images import Images
from engine.training.probe import draw_sizes


class Prober:
    """Draws what the `[probe]` of a trial asks for, and leaves the training as it was.

    `lr` is the trial's rate after scaling; `go_on` is called before each draw and may raise.
    """

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        flat: FlatModel,
        images: Images,
        lr: float,
        go_on: Callable[[], None],
    ) -> None:
        train = trial.settings.train
        self._asked, self._plan, self._lr, self._go_on = trial.settings.probe, plan, lr, go_on
        self._replacement = train.sampling == "with-replacement"
        self._drawing = Drawing(
            flat, images, trial.seed, train.loss_reduction == "mean", self._replacement
        )

    @property
    def sizes(self) -> list[int]:
        """The batch sizes to draw: no larger than the data where an image is drawn but once."""
        asked = self._asked.batch_sizes
        if not asked and not self._asked.pairs:
            asked = (self._plan.batch_size,)
        return sorted({min(size, self._most) for size in asked})

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The competitions for which there are enough images."""
        return [pair for pair in self._asked.pairs if pair[1] <= self._most]

    def probe(self, share: float) -> tuple[tuple[Draws, ...], tuple[Competition, ...], float]:
        """Draws, competitions and the seconds that they took, at the present weights."""
        began = time.perf_counter()
        micro = self._plan.micro_batch_size
        # at one moment every configuration of a seed draws the same batches
        stream = (round(share * 1e6),)
        draws = draw_sizes(self._drawing, self.sizes, self._asked.draws, stream, micro, self._go_on)
        found = [
            compete(
                self._drawing, pair, self._asked.pair_draws, self._lr, stream, micro, self._go_on
            )
            for pair in self.pairs
        ]
        competitions = tuple(one for one in found if one is not None)
        return draws, competitions, time.perf_counter() - began

    @property
    def _most(self) -> int:
        return 2**53 if self._replacement else self._drawing.images.train_size

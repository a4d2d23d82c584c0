"""What is measured at the moments at which a training holds still."""

import time
from collections.abc import Callable

from engine.drawn import competing_pairs, drawn_sizes
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
        settings, train = trial.settings, trial.settings.train
        self._asked, self._plan, self._lr, self._go_on = settings.probe, plan, lr, go_on
        self._sizes = drawn_sizes(settings, images.train_size)
        self._pairs = competing_pairs(settings, images.train_size)
        mean, replacement = train.loss_reduction == "mean", train.sampling == "with-replacement"
        self._drawing = Drawing(flat, images, trial.seed, mean, replacement)

    def probe(self, share: float) -> tuple[tuple[Draws, ...], tuple[Competition, ...], float]:
        """Draws, competitions and the seconds that they took, at the present weights."""
        began = time.perf_counter()
        micro = max(self._plan.micro_batch_size, self._plan.draw_micro_batch_size)
        # at one moment every configuration of a seed draws the same batches
        stream = (round(share * 1e6),)
        draws = draw_sizes(
            self._drawing, self._sizes, self._asked.draws, stream, micro, self._go_on
        )
        found = [
            compete(
                self._drawing, pair, self._asked.pair_draws, self._lr, stream, micro, self._go_on
            )
            for pair in self._pairs
        ]
        competitions = tuple(one for one in found if one is not None)
        return draws, competitions, time.perf_counter() - began

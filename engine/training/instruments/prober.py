"""What is measured at the moments at which a training holds still."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from batchscope.engine.journal.events import Competition, Draws
from batchscope.engine.networks.architectures import has_batch_norm, images_together
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.probe_sizes import competing_pairs, drawn_sizes
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.instruments.competition import compete
from batchscope.engine.training.instruments.frozen_batches import Drawing
from batchscope.engine.training.instruments.frozen_gradients import draw_sizes
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.peak_memory import ran_out


class Found(NamedTuple):
    """Draws, competitions, the seconds that they took, and whether memory ran out meanwhile."""

    draws: tuple[Draws, ...]
    competitions: tuple[Competition, ...]
    seconds: float
    cut: bool


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
        self._asked, self._lr, self._go_on = settings.probe, lr, go_on
        self._sizes = drawn_sizes(settings, images.train_size)
        self._pairs = competing_pairs(settings, images.train_size)
        self._drawing = Drawing(
            flat,
            images,
            trial.seed,
            mean=train.loss_reduction == "mean",
            replacement=train.sampling == "with-replacement",
            micro_batch_size=max(plan.micro_batch_size, plan.draw_micro_batch_size),
            batch_norm=has_batch_norm(settings.model),
            together=images_together(settings.model),
            channels_last=plan.layout == "channels-last",
        )

    @property
    def micro_batch_size(self) -> int:
        """Samples in memory at once."""
        return self._drawing.micro_batch_size

    @micro_batch_size.setter
    def micro_batch_size(self, size: int) -> None:
        self._drawing.micro_batch_size = size

    def probe(self, share: float) -> Found:
        """What is found at the present weights; begun anew in halves where memory runs out."""
        began, cut = time.perf_counter(), False
        while True:
            try:
                draws, competitions = self._measure(share)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.micro_batch_size == 1:
                    raise
            else:
                return Found(draws, competitions, time.perf_counter() - began, cut)
            cut, self.micro_batch_size = True, -(-self.micro_batch_size // 2)
            if self._drawing.flat.gradient.is_cuda:
                torch.cuda.empty_cache()

    def _measure(self, share: float) -> tuple[tuple[Draws, ...], tuple[Competition, ...]]:
        # at one moment every configuration of a seed draws the same batches
        stream, drawing, go_on = (round(share * 1e6),), self._drawing, self._go_on
        draws = draw_sizes(drawing, self._sizes, self._asked.draws, stream, go_on)
        competitions = [
            compete(drawing, pair, self._asked.pair_draws, self._lr, stream, go_on)
            for pair in self._pairs
        ]
        return draws, tuple(one for one in competitions if one is not None)

"""Probes a training: gradient statistics and competitions of steps at the present weights."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from batchscope.engine.journal.events import Competition, Draws
from batchscope.engine.networks.architectures import has_batch_norm, images_together
from batchscope.engine.planning.plan import Plan
from batchscope.engine.schedule.probe_sizes import competing_pairs, drawn_sizes
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.instruments.competition import compete
from batchscope.engine.training.instruments.frozen_batches import Drawing
from batchscope.engine.training.instruments.frozen_gradients import draw_sizes
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.peak_memory import ran_out


class ProbeResult(NamedTuple):
    """The result of one probe.

    Attributes:
        draws: gradients of many batches, one entry for each batch size.
        competitions: small steps against a large one, one entry for each pair of sizes.
        seconds: time of the probe.
        cut: whether memory ran out and the micro-batch was halved.
    """

    draws: tuple[Draws, ...]
    competitions: tuple[Competition, ...]
    seconds: float
    cut: bool


class Prober:
    """Measures what the `[probe]` settings of a trial name; weights and buffers are restored.

    Args:
        trial: the trial.
        plan: micro-batch size and layout.
        flat: the network.
        images: the data set.
        lr: learning rate after scaling with the batch size.
        check_cancelled: called before each draw; it may wait or raise.
    """

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        flat: FlatModel,
        images: TrainingData,
        lr: float,
        check_cancelled: Callable[[], None],
    ) -> None:
        settings, train = trial.settings, trial.settings.train
        self._settings, self._lr, self._check_cancelled = settings.probe, lr, check_cancelled
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
        """The number of samples in one forward and backward pass."""
        return self._drawing.micro_batch_size

    @micro_batch_size.setter
    def micro_batch_size(self, size: int) -> None:
        self._drawing.micro_batch_size = size

    def probe(self, share: float) -> ProbeResult:
        """Probe the present weights.

        If memory runs out, the micro-batch is halved and the probe starts again.

        Args:
            share: share of the budget at this moment; it selects the random batches.
        """
        began, cut = time.perf_counter(), False
        while True:
            try:
                draws, competitions = self._measure(share)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.micro_batch_size == 1:
                    raise
            else:
                return ProbeResult(draws, competitions, time.perf_counter() - began, cut)
            cut, self.micro_batch_size = True, -(-self.micro_batch_size // 2)
            if self._drawing.flat.gradient.is_cuda:
                torch.cuda.empty_cache()

    def _measure(self, share: float) -> tuple[tuple[Draws, ...], tuple[Competition, ...]]:
        # every configuration of a seed draws the same batches at the same share of its budget
        stream, drawing, check = (round(share * 1e6),), self._drawing, self._check_cancelled
        draws = draw_sizes(drawing, self._sizes, self._settings.draws, stream, check)
        competitions = [
            compete(drawing, pair, self._settings.pair_draws, self._lr, stream, check)
            for pair in self._pairs
        ]
        return draws, tuple(one for one in competitions if one is not None)

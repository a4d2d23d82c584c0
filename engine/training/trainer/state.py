"""The present state of a training, shared by all that measure, report or save it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.instruments.probe_moments import Moments
from batchscope.engine.training.instruments.prober import Prober
from batchscope.engine.training.instruments.sharpness import SharpnessMeter
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.evaluation import Cut, Evaluator
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.progress import Clock, Position
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.train_step import Stepper


class TrainingState:
    """A group of replicates and its position in the training.

    Attributes:
        job: what to train.
        images: the data set.
        settings: the settings that all replicates share.
        train_settings: their `[train]` table.
        at: the position in the training.
        clock: the seconds of training.
        stepper: takes the steps.
        evaluator: evaluates the replicates.
        moments: the moments at which the replicates are still to be probed.
        active: the replicates that have not ended.
    """

    stepper: Stepper
    evaluator: Evaluator
    moments: Moments
    active: list[Replicate]

    def __init__(self, job: TrainingJob, images: TrainingData) -> None:
        self.job, self.images = job, images
        self.settings = job.members[0].settings
        self.train_settings = self.settings.train
        self.device = torch.device(job.device)
        self.at, self.clock = Position(), Clock()

    def begin(self, cut: Cut, check_cancelled: Callable[[str], None]) -> None:
        """Set the training up before its first step.

        Args:
            cut: called with the new evaluation batch size when memory runs out in an evaluation.
            check_cancelled: called with the id of a trial between two draws of its probe; it may
                wait or raise.
        """
        job = self.job
        self.stepper = Stepper(job.members, job.plan, self.images, self.device, job.team)
        self.evaluator = Evaluator(self.stepper, self.images, job.plan.evaluation_batch_size, cut)
        self.at, self.clock = Position(), Clock()
        self.moments = Moments(
            self.settings.probe.at,
            self.total_steps,
            self.train_settings.seconds,
            self.stepper.course.steps_at,
        )
        members = enumerate(zip(job.members, self.stepper.stack.members, strict=True))
        self.active = [
            self._member(trial, index, flat, check_cancelled)
            for index, (trial, flat) in members
            if trial.id in job.active
        ]

    def _member(
        self, trial: Trial, index: int, flat: FlatModel, check_cancelled: Callable[[str], None]
    ) -> Replicate:
        check, lr = partial(check_cancelled, trial.id), self.stepper.rates.lr
        prober = Prober(trial, self.job.plan, flat, self.images, lr, check)
        meter = SharpnessMeter(trial, self.job.plan, flat, self.images, check)
        return Replicate(trial, index, flat, prober, meter)

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole budget; None for a budget in seconds."""
        return self.stepper.total_steps

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Stop the clock during the body; an exception in the body leaves it stopped."""
        counting = self.clock.running
        if counting:
            self.synchronize()
            self.clock.stop()
        yield
        if counting:
            self.clock.start()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

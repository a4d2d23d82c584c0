"""What a training is now: what those who measure it, state it or keep it need to know of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
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
    """A group of replicates, and how far it is.

    Attributes:
        stepper: takes the steps.
        judge: evaluates the replicates.
        moments: those at which they are probed, as far as they are still to come.
        active: replicates that have not ended.
    """

    stepper: Stepper
    judge: Evaluator
    moments: Moments
    active: list[Replicate]

    def __init__(self, job: TrainingJob, images: Images) -> None:
        self.job, self.images = job, images
        self.settings = job.members[0].settings
        self.train_settings = self.settings.train
        self.device = torch.device(job.device)
        self.at, self.clock = Position(), Clock()

    def begin(self, cut: Cut, go_on: Callable[[str], None]) -> None:
        """Stand before the first step.

        `cut` hears of the pieces in which replicates are evaluated, where memory runs out. `go_on`
        is called with the name of a trial between two draws of its probe, and may raise.
        """
        job = self.job
        self.stepper = Stepper(job.members, job.plan, self.images, self.device, job.team)
        self.judge = Evaluator(self.stepper, self.images, job.plan.evaluation_batch_size, cut)
        self.at, self.clock = Position(), Clock()
        self.moments = Moments(
            self.settings.probe.at,
            self.total_steps,
            self.train_settings.seconds,
            self.stepper.course.steps_at,
        )
        members = enumerate(zip(job.members, self.stepper.stack.members, strict=True))
        self.active = [
            self._member(trial, index, flat, go_on)
            for index, (trial, flat) in members
            if trial.id in job.active
        ]

    def _member(
        self, trial: Trial, index: int, flat: FlatModel, go_on: Callable[[str], None]
    ) -> Replicate:
        asked, lr = partial(go_on, trial.id), self.stepper.rates.lr
        prober = Prober(trial, self.job.plan, flat, self.images, lr, asked)
        sharpener = SharpnessMeter(trial, self.job.plan, flat, self.images, asked)
        return Replicate(trial, index, flat, prober, sharpener)

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole budget, where it is not one of seconds."""
        return self.stepper.total_steps

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Have the clock stand still meanwhile, if it counts; for good where all ends in there."""
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

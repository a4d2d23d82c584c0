"""Trains one trial and states what happened.

The device is waited for only where a slice of gradient norms ends (a twentieth of the run at
most), at the end of an epoch, and nowhere inside a step.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor

from engine.events import (
    AnyEvent,
    EpochRecord,
    EpochsFinished,
    MicroBatchCut,
    NormSlice,
    Probed,
    Progress,
    TrialEnded,
    TrialStarted,
    TrialStatus,
)
from engine.plan import Plan
from engine.spec import Trial
from engine.training.evaluation import Figures, evaluate
from engine.training.gradients import norm_slice
from engine.training.images import Images, epoch_order
from engine.training.memory import measured, ran_out
from engine.training.moments import Moments
from engine.training.probing import Prober
from engine.training.stepping import SLICES_PER_RUN, Stepper

REPORT_SECONDS = 1.0


class Halted(Exception):
    """The conductor asked for the end of the training."""


class Diverged(Exception):
    """Loss or gradient is no longer finite."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to train, and where."""

    trial: Trial
    plan: Plan
    attempt: int
    worker: int
    device: str


@dataclass
class Clock:
    """Seconds of training: evaluation and reports are left out."""

    seconds: float = 0.0
    epoch_seconds: float = 0.0
    _since: float = 0.0

    def start(self) -> None:
        """Go on counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting."""
        passed = time.perf_counter() - self._since
        self.seconds += passed
        self.epoch_seconds += passed

    def total(self) -> float:
        """Seconds so far while counting."""
        return self.seconds + time.perf_counter() - self._since


@dataclass
class Position:
    """How far a training is: totals that the optimizer has seen."""

    epoch: int = 0
    steps: int = 0
    samples: int = 0
    over: bool = False
    reached: str = ""
    slices: list[NormSlice] = field(default_factory=list)


class Training:
    """One trial from its first step to its last."""

    def __init__(
        self,
        job: Job,
        images: Images,
        state: Callable[[AnyEvent], None],
        halted: Callable[[], bool],
    ) -> None:
        self.job, self.images, self._state, self._halted = job, images, state, halted
        settings, plan = job.trial.settings, job.plan
        self.train_settings = settings.train
        self.device = torch.device(job.device)
        torch.set_num_threads(plan.threads)
        self.stepper = Stepper(job.trial, plan, images, self.device)
        self.flat, self.travel = self.stepper.flat, self.stepper.travel
        self.total_steps = self.stepper.total_steps
        self.evaluation_batch_size, self.peak_bytes = plan.evaluation_batch_size, 0
        self.slice_from = 0.0
        self.at, self.clock = Position(), Clock()
        self.moments = Moments(settings.probe.at, self.total_steps, settings.train.seconds)
        self.prober = Prober(
            job.trial, plan, self.flat, images, self.stepper.rates.lr, self._raise_if_halted
        )
        self._pending: list[EpochRecord] = []
        self._told = self._durable = time.monotonic()

    def run(self) -> None:
        """Train to the end of the budget; the last event is always `TrialEnded`."""
        job = self.job
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._state(
            TrialStarted(
                trial=job.trial.id,
                attempt=job.attempt,
                worker=job.worker,
                device=job.device,
                batch_size=job.plan.batch_size,
                micro_batch_size=job.plan.micro_batch_size,
                total_steps=self.total_steps,
                steps_per_epoch=self.stepper.per_epoch,
                parameters=self.flat.parameters,
                init_norm=float(torch.linalg.vector_norm(self.stepper.start_weights)),
                lr=self.stepper.rates.lr,
            )
        )
        try:
            self._probe_if_due()
            for epoch in count(1):
                self._epoch(epoch)
                if self.at.over:
                    break
            self._probe(self.moments.at_the_end())
            self._end("finished", self.at.reached)
        except Diverged as end:
            self._end("diverged", str(end))
        except Halted:
            self._end("stopped", "")

    def _epoch(self, epoch: int) -> None:
        self.at.epoch, self.at.slices, self.clock.epoch_seconds = epoch, [], 0.0
        samples_before = self.at.samples
        order = epoch_order(
            self.images.train_size,
            self.job.trial.seed,
            epoch,
            replacement=self.train_settings.sampling == "with-replacement",
        ).to(self.device)
        self.clock.start()
        first, filled = self.at.steps, 0
        for batch in torch.split(order, self.job.plan.batch_size):
            self._step(batch, filled)
            filled += 1
            self._probe_if_due()
            self.at.over = self._budget_spent()
            if filled == self.stepper.slice_steps or self.at.over or self._slice_is_long():
                self._close_slice(first, filled)
                first, filled = self.at.steps, 0
            if self.at.over:
                break
            if time.monotonic() - self._told > REPORT_SECONDS:
                self._tell_progress()
        if filled:
            self._close_slice(first, filled)
        self._synchronize()
        self.clock.stop()
        self._finish_epoch(self.at.samples - samples_before)

    def _step(self, batch: Tensor, filled: int) -> None:
        self._raise_if_halted()
        with self._first_measured(self.at.steps == 0):
            cut = self.stepper.step(batch, self.at.steps + 1, filled)
        if cut:
            self._tell_cut(self.stepper.micro_batch_size)
        self.at.steps += 1
        self.at.samples += len(batch)

    def _raise_if_halted(self) -> None:
        if self._halted():
            raise Halted

    def _probe_if_due(self) -> None:
        """Hold still if a moment has come; the clock does not count it."""
        seconds = self.clock.total() if self.at.steps else 0.0
        share = self.moments.reached(self.at.steps, seconds)
        if share is None:
            return
        if self.at.steps:
            self._synchronize()
            self.clock.stop()
        while share is not None:
            self._probe(share)
            share = self.moments.reached(self.at.steps, seconds)
        if self.at.steps:
            self.clock.start()

    def _probe(self, share: float | None) -> None:
        if share is None:
            return
        found = self.prober.probe(share)
        if found.cut:
            self._tell_cut(self.prober.micro_batch_size, probe=True)
        self._state(
            Probed(
                trial=self.job.trial.id,
                attempt=self.job.attempt,
                at_share=share,
                epoch=self.at.epoch,
                steps=self.at.steps,
                samples=self.at.samples,
                seconds=found.seconds,
                draws=found.draws,
                competitions=found.competitions,
            )
        )

    def _slice_is_long(self) -> bool:
        """Whether a slice of norms has taken a twentieth of a budget in seconds."""
        seconds = self.train_settings.seconds
        if seconds is None or self.clock.total() < self.slice_from + seconds / SLICES_PER_RUN:
            return False
        self.slice_from = self.clock.total()
        return True

    def _budget_spent(self) -> bool:
        seconds = self.train_settings.seconds
        if seconds is not None:
            return self.clock.total() >= seconds
        return self.at.steps == self.total_steps

    def _close_slice(self, first: int, filled: int) -> None:
        piece = norm_slice(first, self.stepper.norms[:filled].cpu().numpy())
        self.at.slices.append(piece)
        if piece.broken:
            raise Diverged(f"the gradient was not finite by step {self.at.steps:,}")

    def _finish_epoch(self, epoch_samples: int) -> None:
        train, test = self._evaluate()
        weights = self.flat.weights.detach()
        update_norm = self.travel.end_epoch()
        record = EpochRecord(
            epoch=self.at.epoch,
            steps=self.at.steps,
            samples=self.at.samples,
            lr=self.stepper.lr,
            train_loss=_known(train.loss),
            train_accuracy=train.accuracy,
            test_loss=_known(test.loss),
            test_accuracy=test.accuracy,
            seconds=self.clock.epoch_seconds,
            epoch_samples=epoch_samples,
            weight_norm=_known(float(torch.linalg.vector_norm(weights))),
            distance_from_init=_known(self.stepper.distance()),
            norms=tuple(self.at.slices),
            peak_memory_bytes=self._peak_memory(),
            update_norm_mean=_known(update_norm),
            path_length=_known(self.travel.path_length),
        )
        self._pending.append(record)
        if record.test_loss is None or record.train_loss is None:
            raise Diverged(f"the loss was not finite after epoch {self.at.epoch}")
        target = self.train_settings.target_accuracy
        if target is not None and test.accuracy >= target:
            self.at.over, self.at.reached = True, f"reached a test accuracy of {target:g}"
        if time.monotonic() - self._durable > REPORT_SECONDS:
            self._state_epochs()

    def _evaluate(self) -> tuple[Figures, Figures]:
        """Figures on train part and test set, in smaller pieces where memory runs out."""
        while True:
            try:
                with self._first_measured(self.at.epoch == 1):
                    return self._evaluate_in(self.evaluation_batch_size)
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.evaluation_batch_size == 1:
                    raise
            self.evaluation_batch_size = -(-self.evaluation_batch_size // 2)
            self._tell_cut(self.evaluation_batch_size, evaluation=True)

    def _evaluate_in(self, size: int) -> tuple[Figures, Figures]:
        images = self.images
        parts = torch.split(images.train_part, size)
        train = ((images.train[part], images.train_labels[part]) for part in parts)
        test = zip(
            torch.split(images.test, size), torch.split(images.test_labels, size), strict=True
        )
        return evaluate(self.flat, train), evaluate(self.flat, test)

    @contextmanager
    def _first_measured(self, first: bool) -> Iterator[None]:
        """On a CPU nobody counts what is live, and watching costs: so only the first time."""
        if not first or self.device.type != "cpu":
            yield
            return
        held = [*self.images.held(), *self.stepper.held()]
        with measured(self.device, held) as peak:
            yield
        self.peak_bytes = max(self.peak_bytes, peak.bytes)

    def _tell_cut(self, size: int, evaluation: bool = False, probe: bool = False) -> None:
        self._state(
            MicroBatchCut(
                trial=self.job.trial.id,
                attempt=self.job.attempt,
                steps=self.at.steps,
                size=size,
                evaluation=evaluation,
                probe=probe,
            )
        )

    def _tell_progress(self) -> None:
        self._told = time.monotonic()
        reserved = None
        if self.device.type == "cuda":
            reserved = torch.cuda.memory_reserved(self.device)
        self._state(
            Progress(
                trial=self.job.trial.id,
                attempt=self.job.attempt,
                epoch=self.at.epoch,
                steps=self.at.steps,
                samples=self.at.samples,
                seconds=self.clock.total(),
                reserved_bytes=reserved,
            )
        )

    def _state_epochs(self) -> None:
        if self._pending:
            self._state(
                EpochsFinished(
                    trial=self.job.trial.id,
                    attempt=self.job.attempt,
                    records=tuple(self._pending),
                )
            )
            self._pending.clear()
        self._durable = self._told = time.monotonic()

    def _end(self, status: TrialStatus, reason: str) -> None:
        self._state_epochs()
        self._state(
            TrialEnded(
                trial=self.job.trial.id,
                attempt=self.job.attempt,
                status=status,
                reason=reason,
            )
        )

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _peak_memory(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return self.peak_bytes


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Trains one trial and states what happened.

The device is waited for only where a slice of gradient norms ends (a twentieth of the run at
most), at the end of an epoch, and nowhere inside a step.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor

from engine.budget import planned_steps, steps_per_epoch
from engine.datasets import DATASETS
from engine.events import (
    AnyEvent,
    EpochRecord,
    EpochsFinished,
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
from engine.training.flat import FlatModel
from engine.training.gradients import accumulate, norm_slice
from engine.training.images import Images, epoch_order
from engine.training.models import build_model
from engine.training.moments import Moments
from engine.training.optim import build_optimizer
from engine.training.probing import Prober
from engine.training.schedule import scaled_rates, warmed_up
from engine.training.travel import Travel

SLICES_PER_RUN = 20
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
        dataset = DATASETS[settings.data.name]
        self.flat = FlatModel(build_model(settings.model, dataset, job.trial.seed), self.device)
        self.start_weights = self.flat.copy_weights()
        self.rates = scaled_rates(settings, plan.batch_size)
        self.optimizer = build_optimizer(self.flat.weights, settings.train, self.rates)
        self.per_epoch = steps_per_epoch(images.train_size, plan.batch_size)
        self.total_steps = planned_steps(settings.train, images.train_size, plan.batch_size)
        self.warmup_steps = settings.scaling.warmup_epochs * self.per_epoch
        self.travel = Travel(self.flat.weights.detach(), self.per_epoch, self.total_steps)
        self.slice_steps = self._slice_steps()
        self.norms = torch.zeros(self.slice_steps, device=self.device)
        self.lr = self.rates.lr
        self.at, self.clock = Position(), Clock()
        self.moments = Moments(settings.probe.at, self.total_steps, settings.train.seconds)
        self.prober = Prober(
            job.trial, plan, self.flat, images, self.rates.lr, self._raise_if_halted
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
                steps_per_epoch=self.per_epoch,
                parameters=self.flat.parameters,
                init_norm=float(torch.linalg.vector_norm(self.start_weights)),
                lr=self.rates.lr,
            )
        )
        try:
            self._probe(self.moments.reached(0, 0.0))
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
            if filled == self.slice_steps or self.at.over:
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
        mean = self.train_settings.loss_reduction == "mean"
        self._set_rate(self.at.steps + 1)
        # -- the training step --
        accumulate(
            self.flat,
            self.images.train,
            self.images.train_labels,
            batch,
            self.job.plan.micro_batch_size,
            mean,
        )
        self.norms[filled] = self.flat.norm()
        self.travel.before_step()
        self.optimizer.step()
        self.travel.after_step()
        # -----------------------
        self.at.steps += 1
        self.at.samples += len(batch)

    def _set_rate(self, step: int) -> None:
        lr = warmed_up(self.rates.lr, step, self.warmup_steps)
        if lr != self.lr or step == 1:
            self.lr = lr
            for group in self.optimizer.param_groups:
                group["lr"] = lr

    def _raise_if_halted(self) -> None:
        if self._halted():
            raise Halted

    def _probe_if_due(self) -> None:
        """Hold still if a moment has come; the clock does not count it."""
        share = self.moments.reached(self.at.steps, self.clock.total())
        if share is None:
            return
        self._synchronize()
        self.clock.stop()
        while share is not None:
            self._probe(share)
            share = self.moments.reached(self.at.steps, self.clock.seconds)
        self.clock.start()

    def _probe(self, share: float | None) -> None:
        if share is None:
            return
        draws, competitions, seconds = self.prober.probe(share)
        self._state(
            Probed(
                trial=self.job.trial.id,
                attempt=self.job.attempt,
                at_share=share,
                epoch=self.at.epoch,
                steps=self.at.steps,
                samples=self.at.samples,
                seconds=seconds,
                draws=draws,
                competitions=competitions,
            )
        )

    def _budget_spent(self) -> bool:
        seconds = self.train_settings.seconds
        if seconds is not None:
            return self.clock.total() >= seconds
        return self.at.steps == self.total_steps

    def _slice_steps(self) -> int:
        """Steps of a slice of norms: within an epoch, and within a twentieth of the run."""
        if self.total_steps is None:
            return self.per_epoch
        return max(1, min(self.per_epoch, self.total_steps // SLICES_PER_RUN))

    def _close_slice(self, first: int, filled: int) -> None:
        piece = norm_slice(first, self.norms[:filled].cpu().numpy())
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
            lr=self.lr,
            train_loss=_known(train.loss),
            train_accuracy=train.accuracy,
            test_loss=_known(test.loss),
            test_accuracy=test.accuracy,
            seconds=self.clock.epoch_seconds,
            epoch_samples=epoch_samples,
            weight_norm=_known(float(torch.linalg.vector_norm(weights))),
            distance_from_init=_known(
                float(torch.linalg.vector_norm(weights - self.start_weights))
            ),
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
        images, size = self.images, self.job.plan.evaluation_batch_size
        parts = torch.split(images.train_part, size)
        train = ((images.train[part], images.train_labels[part]) for part in parts)
        test = zip(
            torch.split(images.test, size), torch.split(images.test_labels, size), strict=True
        )
        return evaluate(self.flat.model, train), evaluate(self.flat.model, test)

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

    def _peak_memory(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None

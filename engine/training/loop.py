"""Trains one trial and states what happened.

The device is waited for only where a slice of gradient norms ends (a twentieth of the run at
most), at the end of an epoch, and nowhere inside a step.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from engine.events import (
    AnyEvent,
    EpochRecord,
    EpochsFinished,
    MicroBatchCut,
    Note,
    Probed,
    TrialEnded,
    TrialStatus,
)
from engine.plan import Plan
from engine.spec import Trial
from engine.target import has_target, is_check, is_met, told
from engine.training import statements
from engine.training.evaluation import Figures, evaluate
from engine.training.gradients import norm_slice
from engine.training.halting import Halted, raise_if
from engine.training.holding import Pause
from engine.training.images import Images, Part, epoch_order
from engine.training.keeping import Keeper
from engine.training.memory import measured, ran_out
from engine.training.moments import Moments
from engine.training.position import Clock, Facts, Position
from engine.training.probing import Prober
from engine.training.stepping import SLICES_PER_RUN, Stepper

REPORT_SECONDS = 1.0
WITHIN_SECONDS = 5.0  # between checkpoints within an epoch
RESTATED = 100  # epochs in one line


class Diverged(Exception):
    """Loss or gradient is no longer finite."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to train, and where.

    With `checkpoints`, a folder, the training is kept there and goes on from what it holds of
    the same trial on the same images, which `data_digest` tells.
    """

    trial: Trial
    plan: Plan
    attempt: int
    worker: int
    device: str
    checkpoints: Path | None = None
    data_digest: str = ""


class Training:
    """One trial from its first step to its last."""

    def __init__(
        self,
        job: Job,
        images: Images,
        state: Callable[[AnyEvent], None],
        halted: Callable[[], bool],
        pause: Pause | None = None,
    ) -> None:
        self.job, self.images, self._state, self._halted = job, images, state, halted
        self._pause = pause or Pause()
        self.train_settings = job.trial.settings.train
        self.device = torch.device(job.device)
        torch.set_num_threads(job.plan.threads)
        self._keeper = Keeper(job.checkpoints, job.attempt, self._warn)
        self._told = time.monotonic()
        self._begin()
        self._resumed = self._keeper.take_up(self, self._begin)

    def _begin(self) -> None:
        """Stand before the first step."""
        job, settings = self.job, self.job.trial.settings
        self.stepper = Stepper(job.trial, job.plan, self.images, self.device)
        self.flat, self.travel = self.stepper.flat, self.stepper.travel
        self.total_steps = self.stepper.total_steps
        self.evaluation_batch_size, self.peak_bytes = job.plan.evaluation_batch_size, 0
        self.at, self.clock, self.facts = Position(), Clock(), Facts()
        steps_at = self.stepper.course.steps_at
        self.moments = Moments(
            settings.probe.at, self.total_steps, settings.train.seconds, steps_at
        )
        self.prober = Prober(
            job.trial,
            job.plan,
            self.flat,
            self.images,
            self.stepper.rates.lr,
            self._go_on,
        )
        self._pending: list[EpochRecord] = []

    def run(self) -> None:
        """Train to the end of the budget; the last event is always `TrialEnded`."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._state(statements.started(self, self._resumed))
        if self._resumed:
            self._restate()
        try:
            self._probe_if_due()
            while self.at.within or not self.at.over:
                if not self.at.within:
                    self.at.begin_epoch()
                    self.clock.epoch_seconds = 0.0
                    self._grow_back()
                self._epoch()
            self._probe(self.moments.at_the_end())
            self._end("finished", self.at.reached)
        except Diverged as end:
            self._end("diverged", str(end))
        except Halted:
            self.clock.stop()
            self._keep()
            self._pending.clear()  # what no checkpoint holds will be trained again
            self._end("stopped", "")

    def _epoch(self) -> None:
        """Train the epoch to its end, from where it is."""
        order = epoch_order(
            self.images.train_size,
            self.job.trial.seed,
            self.at.epoch,
            replacement=self.train_settings.sampling == "with-replacement",
        ).to(self.device)
        self.clock.start()
        for batch in self._batches(self.images.of_training(order)):
            self._step(batch)
            self._check_target(len(batch))
            self._probe_if_due()
            if not self.at.over:
                self._report()
        if self.at.filled:
            self._close_slice()
        self._synchronize()
        self.clock.stop()
        self._finish_epoch()

    def _batches(self, order: Tensor) -> Iterator[Tensor]:
        """The rest of an epoch: the next images of its order, as many as each step's stage says."""
        at, stepper = self.at, self.stepper
        while not at.over and at.epoch_samples < len(order):
            stage = stepper.course.stage(at.steps, at.samples, self._seconds())
            stepper.enter(stage)
            for batch in torch.split(order[at.epoch_samples :], stage.batch_size):
                yield batch
                if at.over or not stage.lasts(at.steps, at.samples, self._seconds()):
                    break

    def _seconds(self) -> float:
        """Seconds of training, where the budget is one of them."""
        return 0.0 if self.train_settings.seconds is None else self.clock.total()

    def _step(self, batch: Tensor) -> None:
        """One step and all that must be known once it is taken, so that one may halt after it."""
        if self._pause.asked:
            self._hold_still()
        raise_if(self._halted)
        at = self.at
        with self._first_measured(at.steps == 0):
            seconds = self._seconds()
            cut = self.stepper.step(batch, at.steps + 1, at.filled, at.samples, seconds)
        if cut:
            at.regrowth.put_off(at.epoch)
            self._tell_cut(self.stepper.micro_batch_size)
        at.steps, at.filled = at.steps + 1, at.filled + 1
        at.samples, at.epoch_samples = at.samples + len(batch), at.epoch_samples + len(batch)
        at.batch_size = self.stepper.stage.batch_size
        at.over = self._budget_spent()
        if at.filled == self.stepper.slice_steps or at.over or self._slice_is_long():
            self._close_slice()

    def _grow_back(self) -> None:
        """After a while try the planned micro-batch again; where it fails, the step is cut anew."""
        planned = self.job.plan.micro_batch_size
        if self.stepper.micro_batch_size < planned and self.at.regrowth.due(self.at.epoch):
            self.stepper.micro_batch_size = planned
            self._tell_cut(planned, grew=True)

    def _check_target(self, batch: int) -> None:
        """Within an epoch, end it after a batch of so many images if the target is reached.

        The clock does not count it, and the figures that it takes move nothing. At the end of the
        epoch, or of the budget, its own figures are judged.
        """
        at, train = self.at, self.train_settings
        whole = self.images.train_size
        within = not at.over and at.epoch_samples < whole and has_target(train)
        if not within or not is_check(at.epoch_samples, batch, whole, train.target_checks):
            return
        self._synchronize()
        self.clock.stop()
        (judged,) = self._evaluate("validation" if self.images.validates else "test")
        at.over = is_met(train, statements.known(judged.loss), judged.accuracy)
        self.clock.start()

    def _report(self) -> None:
        """Say how far it is, and make it durable, once it is time for either."""
        if self._keeper.due(REPORT_SECONDS if self._pending else WITHIN_SECONDS):
            self._synchronize()
            self.clock.stop()
            self._keep()
            self.clock.start()
        if time.monotonic() - self._told > REPORT_SECONDS:
            self._told = time.monotonic()
            self._state(statements.progress(self))

    def _hold_still(self) -> None:
        """Wait between two steps until the pause is lifted; the clock does not count it."""
        self._synchronize()
        self._state(statements.progress(self))
        self.clock.stop()
        self._keep()
        self._pause.wait()
        self.clock.start()

    def _go_on(self) -> None:
        """Between two draws of a probe: hold still or end, where that was asked for."""
        self._pause.wait()
        raise_if(self._halted)

    def _probe_if_due(self) -> None:
        """Hold still if a moment has come; the clock does not count it."""
        counting, seconds = self.clock.running, self.clock.total()
        share = self.moments.reached(self.at.steps, seconds)
        if share is None:
            return
        if counting:
            self._synchronize()
            self.clock.stop()
        while share is not None:
            self._probe(share)
            share = self.moments.reached(self.at.steps, seconds)
        if counting:
            self.clock.start()

    def _probe(self, share: float | None) -> None:
        if share is None:
            return
        held = self._pause.seconds
        try:
            found = self.prober.probe(share)
        except Halted:
            self.moments.put_back(share)
            raise
        if found.cut:
            self._tell_cut(self.prober.micro_batch_size, probe=True)
        found = found._replace(seconds=found.seconds - (self._pause.seconds - held))
        event = statements.probed(self, share, found)
        self.facts.probes.append(event)
        if self._keeper.due(REPORT_SECONDS):
            self._keep()
        self._state(event)

    def _slice_is_long(self) -> bool:
        """Whether a slice of norms has taken a twentieth of a budget in seconds."""
        seconds = self.train_settings.seconds
        if seconds is None or self.clock.total() < self.at.slice_from + seconds / SLICES_PER_RUN:
            return False
        self.at.slice_from = self.clock.total()
        return True

    def _budget_spent(self) -> bool:
        seconds = self.train_settings.seconds
        if seconds is not None:
            return self.clock.total() >= seconds
        return self.at.steps == self.total_steps

    def _close_slice(self) -> None:
        at = self.at
        piece = norm_slice(at.slice_first, self.stepper.norms[: at.filled].cpu().numpy())
        at.slices.append(piece)
        at.slice_first, at.filled = at.steps, 0
        if piece.broken:
            raise Diverged(f"the gradient was not finite by step {self.at.steps:,}")

    def _finish_epoch(self) -> None:
        train, test = self._evaluate("train", "test")
        held = self._evaluate("validation")[0] if self.images.validates else None
        record = statements.epoch(self, train, test, held)
        self.at.within = False
        self._pending.append(record)
        self.facts.records.append(record)
        if not all(math.isfinite(each.loss) for each in (train, test, held or test)):
            raise Diverged(f"the loss was not finite after epoch {self.at.epoch}")
        judged = held or test
        if is_met(self.train_settings, judged.loss, judged.accuracy):
            self.at.over, self.at.reached = True, told(self.train_settings, held is not None)
        if (not self.at.over or self.moments.left) and self._keeper.due(REPORT_SECONDS):
            self._keep()

    def _evaluate(self, *on: Part) -> list[Figures]:
        """Figures on each part of the images, in smaller pieces where memory runs out."""
        while True:
            try:
                with self._first_measured(self.at.epoch == 1):
                    size = self.evaluation_batch_size
                    return [evaluate(self.flat, self.images.batches(part, size)) for part in on]
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.evaluation_batch_size == 1:
                    raise
            self.evaluation_batch_size = -(-self.evaluation_batch_size // 2)
            self._tell_cut(self.evaluation_batch_size, evaluation=True)

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

    def _keep(self) -> None:
        """A durable point: first the checkpoint, then the statement, which waits for it."""
        if self._keeper.keep(self):
            self._state_epochs()

    def _restate(self) -> None:
        """State again what may have been lost on its way to the journal."""
        stated: list[MicroBatchCut | Probed] = [*self.facts.cuts, *self.facts.probes]
        for event in stated:
            self._state(msgspec.structs.replace(event, attempt=self.job.attempt))
        for first in range(0, len(self.facts.records), RESTATED):
            self._pending = self.facts.records[first : first + RESTATED]
            self._state_epochs()

    def _tell_cut(
        self, size: int, evaluation: bool = False, probe: bool = False, grew: bool = False
    ) -> None:
        event = MicroBatchCut(
            trial=self.job.trial.id,
            attempt=self.job.attempt,
            steps=self.at.steps,
            size=size,
            evaluation=evaluation,
            probe=probe,
            grew=grew,
        )
        self.facts.cuts.append(event)
        self._state(event)

    def _state_epochs(self, last: bool = False) -> None:
        if self._pending:
            self._state(
                EpochsFinished(
                    trial=self.job.trial.id,
                    attempt=self.job.attempt,
                    records=tuple(self._pending),
                    last=last,
                )
            )
            self._pending.clear()
        self._told = time.monotonic()

    def _warn(self, text: str) -> None:
        self._state(Note(level="warning", text=text, trial=self.job.trial.id))

    def _end(self, status: TrialStatus, reason: str) -> None:
        """The last words, which are written down together: so no checkpoint has to come first."""
        self._state_epochs(last=True)
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

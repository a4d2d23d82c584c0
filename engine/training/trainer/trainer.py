"""Trains the replicates of a group and states what happened to each.

The device is waited for only where a slice of gradient norms ends (a twentieth of the run at
most), at the end of an epoch, and nowhere inside a step.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

import torch
from torch import Tensor

from batchscope.engine.journal.events import AnyEvent, TrialStatus
from batchscope.engine.schedule.target import has_target, is_check, is_met, target_text
from batchscope.engine.training.batches import Images, Part, epoch_order
from batchscope.engine.training.cancellation import Dropped, Halted, PauseGate, raise_if
from batchscope.engine.training.trainer import event_builders
from batchscope.engine.training.trainer.checkpointing import CheckpointWriter
from batchscope.engine.training.trainer.evaluation import Evaluation
from batchscope.engine.training.trainer.instrument_runner import Ending, InstrumentRunner
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.reporter import Reporter
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.train_step import SLICES_PER_RUN

REPORT_SECONDS = 1.0
WITHIN_SECONDS = 5.0  # between checkpoints within an epoch
WARM_UP_SECONDS = 0.25  # of a first step, from which on it is not taken twice


class Trainer:
    """A group of replicates from their first step to their last.

    `halted` asks for the end of all, `dropped` names those that are to end before the others.

    Attributes:
        training: what the training is now.
    """

    def __init__(
        self,
        job: TrainingJob,
        images: Images,
        state: Callable[[AnyEvent], None],
        halted: Callable[[], bool],
        pause: PauseGate | None = None,
        dropped: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.training = TrainingState(job, images)
        self._teller = Reporter(self.training, state)
        self._halted, self._dropped, self._finishing = halted, dropped, False
        self._pause = pause or PauseGate()
        self._ending = Ending(self.training, self._teller, self._pause)
        torch.set_num_threads(job.plan.threads)
        self._keeper = CheckpointWriter(job.checkpoints, job.attempt, self._teller.warn)
        self._examiner = InstrumentRunner(
            self.training, self._teller, self._pause, self._keep_if_due, self._let_go
        )
        self._begin()
        self._resumed = self._keeper.take_up(self.training, self._begin)

    def _begin(self) -> None:
        """Stand before the first step."""
        self.training.begin(partial(self._teller.cut, evaluation=True), self._go_on)

    def run(self) -> None:
        """Train to the end of the budget; the last event of each is always `TrialEnded`."""
        training = self.training
        if training.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(training.device)
        self._teller.begin(self._resumed)
        try:
            self._examiner.examine()
            while training.active and (training.at.within or not training.at.over):
                if not training.at.within:
                    training.at.begin_epoch()
                    training.clock.begin_epoch()
                    self._grow_back()
                self._epoch()
            for member in list(self.training.active):
                self._complete(member)
        except Halted:
            self.training.clock.stop()
            self._keep()
            for member in list(self.training.active):
                member.pending.clear()  # what no checkpoint holds will be trained again
                self._end(member, "stopped", "")

    def _epoch(self) -> None:
        """Train the epoch to its end, from where it is."""
        self.training.clock.start()
        for batch in self._batches(self._order()):
            self._step(batch)
            self._check_target(batch.shape[1])
            self._examiner.examine()
            if not self.training.at.over:
                self._report()
        if self.training.at.filled:
            self._close_slice()
        self.training.synchronize()
        self.training.clock.stop()
        self._finish_epoch()

    def _order(self) -> Tensor:
        """The images of the epoch, (R, N), in the order of each replicate."""
        training = self.training
        replacement = training.train_settings.sampling == "with-replacement"
        size, epoch = training.images.train_size, training.at.epoch
        orders = [epoch_order(size, one.seed, epoch, replacement) for one in training.job.members]
        return training.images.of_training(torch.stack(orders).to(training.device))

    def _batches(self, order: Tensor) -> Iterator[Tensor]:
        """The rest of an epoch (R, N): the next images, as many as each step's stage says."""
        at, stepper = self.training.at, self.training.stepper
        while not at.over and at.epoch_samples < order.shape[1]:
            stage = stepper.course.stage(at.steps, at.samples, self._seconds())
            stepper.enter(stage)
            for batch in torch.split(order[:, at.epoch_samples :], stage.batch_size, 1):
                yield batch
                if at.over or not stage.lasts(at.steps, at.samples, self._seconds()):
                    break

    def _seconds(self) -> float:
        """Seconds of training, where the budget is one of them."""
        return 0.0 if self.training.train_settings.seconds is None else self.training.clock.total()

    def _step(self, batch: Tensor) -> None:
        """One step and all that must be known once it is taken, so that one may halt after it."""
        if self._pause.asked:
            self._hold_still()
        raise_if(self._halted)
        if self._dropped():
            self._drop()
            if not self.training.active:
                return
        at = self.training.at
        if at.steps or not self._warm_up(batch):
            self._advance(batch)
        size = batch.shape[1]
        at.steps, at.filled = at.steps + 1, at.filled + 1
        at.samples, at.epoch_samples = at.samples + size, at.epoch_samples + size
        at.batch_size = self.training.stepper.stage.batch_size
        at.over = self._budget_spent()
        if at.filled == self.training.stepper.slice_steps or at.over or self._slice_is_long():
            self._close_slice()

    def _advance(self, batch: Tensor) -> None:
        """Have the weights moved by a batch, and say where memory ran out meanwhile."""
        at, seconds = self.training.at, self._seconds()
        if self.training.stepper.step(batch, at.steps + 1, at.filled, at.samples, seconds):
            at.regrowth.put_off(at.epoch)
            self._teller.cut(self.training.stepper.micro_batch_size)
        recording = self.training.stepper.recording_seconds()
        if recording:
            self.training.clock.leave_out(recording)

    def _warm_up(self, batch: Tensor) -> bool:
        """Take the first step off the clock: it is slow, and its memory is measured.

        Then it is taken back, unless that would cost too much: whether it holds, and its time is
        counted.
        """
        self.training.synchronize()
        self.training.clock.stop()
        began = time.perf_counter()
        with self.training.judge.measured():
            self._advance(batch)
        self.training.synchronize()
        seconds = time.perf_counter() - began
        holds = seconds > WARM_UP_SECONDS
        if holds:
            self.training.clock.count(seconds)
        else:
            self.training.stepper.take_back()
            self.training.clock.warm_up_seconds += seconds
        self.training.clock.start()
        return holds

    def _drop(self) -> None:
        """End those members that nobody wants any more, between two steps."""
        with self.training.off_the_clock():
            for member in [one for one in self.training.active if one.trial.id in self._dropped()]:
                self._let_go(member)

    def _let_go(self, member: Replicate) -> None:
        """End one member before its time, and keep the others as they are."""
        self._keep()
        member.pending.clear()
        self._end(member, "stopped", "")

    def _grow_back(self) -> None:
        """After a while try the planned micro-batch again; where it fails, the step is cut anew."""
        at, stepper = self.training.at, self.training.stepper
        planned = self.training.job.plan.micro_batch_size
        if stepper.micro_batch_size < planned and at.regrowth.due(at.epoch):
            stepper.micro_batch_size = planned
            self._teller.cut(planned, grew=True)

    def _check_target(self, batch: int) -> None:
        """Within an epoch, end those that have reached the target after a batch of so many images.

        The clock does not count it, and the figures that it takes move nothing. At the end of the
        epoch, or of the budget, its own figures are judged.
        """
        at, train = self.training.at, self.training.train_settings
        whole = self.training.images.train_size
        within = not at.over and at.epoch_samples < whole and has_target(train)
        if not within or not is_check(at.epoch_samples, batch, whole, train.target_checks):
            return
        with self.training.off_the_clock():
            (judged,) = self._evaluate("validation" if self.training.images.validates else "test")
            if any(self._meets(judged[member.index]) for member in self.training.active):
                self._finish(lambda member: self._meets(judged[member.index]))

    def _meets(self, judged: Evaluation) -> bool:
        return is_met(
            self.training.train_settings, event_builders.known(judged.loss), judged.accuracy
        )

    def _report(self) -> None:
        """Say how far it is, and make it durable, once it is time for either."""
        pending = any(member.pending for member in self.training.active)
        if self._keeper.due(REPORT_SECONDS if pending else WITHIN_SECONDS):
            with self.training.off_the_clock():
                self._keep()
        if self._teller.due(REPORT_SECONDS):
            self._teller.progress()

    def _hold_still(self) -> None:
        """Wait between two steps until the pause is lifted; the clock does not count it."""
        self.training.synchronize()
        self._teller.progress()
        self.training.clock.stop()
        self._keep()
        self._pause.wait()
        self.training.clock.start()

    def _go_on(self, trial: str) -> None:
        """Between two draws of a probe: hold still or end, where that was asked for."""
        self._pause.wait()
        raise_if(self._halted)
        if trial in self._dropped():
            raise Dropped

    def _slice_is_long(self) -> bool:
        """Whether a slice of norms has taken a twentieth of a budget in seconds."""
        at, clock = self.training.at, self.training.clock
        seconds = self.training.train_settings.seconds
        if seconds is None or clock.total() < at.slice_from + seconds / SLICES_PER_RUN:
            return False
        at.slice_from = clock.total()
        return True

    def _budget_spent(self) -> bool:
        training = self.training
        seconds = training.train_settings.seconds
        if seconds is not None:
            return training.clock.total() >= seconds
        return training.at.steps == training.total_steps

    def _close_slice(self) -> None:
        at = self.training.at
        self.training.stepper.end_slice()
        at.slice_first, at.filled = at.steps, 0
        for member in list(self.training.active):
            self._end_if_broken(member)

    def _end_if_broken(self, member: Replicate) -> bool:
        """End a member whose gradients have not all been finite, and return whether that was so."""
        broken = self.training.stepper.norms.is_broken(member.index)
        if broken:
            steps = self.training.at.steps
            self._end(member, "diverged", f"the gradient was not finite by step {steps:,}")
        return broken

    def _finish_epoch(self) -> None:
        training = self.training
        if not training.active:
            return
        self._finish(lambda member: True)
        training.at.within = False
        training.stepper.end_epoch()
        climbs = any(member.left_to_climb() for member in training.active)
        going_on = training.active and (not training.at.over or training.moments.left or climbs)
        if going_on and self._keeper.due(REPORT_SECONDS):
            self._keep()

    def _finish(self, whose: Callable[[Replicate], bool]) -> None:
        """Take the figures at the end of an epoch of some members, which may be their last.

        Within an epoch, it ends there for them: they have reached the target.
        """
        train, test = self._evaluate("train", "test")
        held = self._evaluate("validation")[0] if self.training.images.validates else None
        self._finishing = True
        for member in [one for one in self.training.active if whose(one)]:
            if not self._end_if_broken(member):
                index = member.index
                self._record(member, train[index], test[index], held[index] if held else None)
        self._finishing = False

    def _record(
        self, member: Replicate, train: Evaluation, test: Evaluation, held: Evaluation | None
    ) -> None:
        record = event_builders.epoch(self.training, member, train, test, held)
        member.pending.append(record)
        member.facts.records.append(record)
        judged = held or test
        if not all(math.isfinite(each.loss) for each in (train, test, judged)):
            reason = f"the loss was not finite after epoch {self.training.at.epoch}"
            self._end(member, "diverged", reason)
            return
        met = self._meets(judged)
        if self.training.at.over or met:
            member.facts.predicted = event_builders.predicted(self.training, member)
        if met:
            self._complete(member, target_text(self.training.train_settings, held is not None))

    def _complete(self, member: Replicate, reason: str = "") -> None:
        """Its training is over: what is asked for at the end of it, and its end."""
        self._examiner.examine_last(member)
        try:
            if member in self.training.active:
                self._ending.sharpen(member, self._keep_if_due)
                self._ending.leave_weights(member)
                self._teller.predicted(member)
                self._end(member, "finished", reason)
        except Dropped:
            self._let_go(member)

    def _keep_if_due(self) -> None:
        if self._keeper.due(REPORT_SECONDS):
            self._keep()

    def _evaluate(self, *on: Part) -> list[list[Evaluation]]:
        return self.training.judge.figures(*on, first=self.training.at.epoch == 1)

    def _keep(self) -> None:
        """A durable point: first the checkpoint, then the statement, which waits for it.

        None in the middle of an epoch's end: whoever went on from there would end it twice.
        """
        if self.training.active and not self._finishing and self._keeper.keep(self.training):
            for member in self.training.active:
                self._teller.epochs(member)

    def _end(self, member: Replicate, status: TrialStatus, reason: str) -> None:
        """A member's last words; without any member it is all over."""
        self._teller.end(member, status, reason)
        self.training.active.remove(member)
        if not self.training.active:
            self.training.at.over = True

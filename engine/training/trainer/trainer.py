"""Trains a group of replicates and reports what happens to each as events.

The training waits for the device only at the end of a slice of gradient norms (at most a twentieth
of the run) and at the end of an epoch, never inside a step.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

import torch
from torch import Tensor

from batchscope.engine.journal.events import AnyEvent, TrialStatus
from batchscope.engine.schedule.target import has_target, is_check, is_met, target_text
from batchscope.engine.training.batches import Part, TrainingData, epoch_order, in_batches
from batchscope.engine.training.cancellation import Dropped, Halted, PauseGate, raise_if
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer import event_builders
from batchscope.engine.training.trainer.checkpointing import CheckpointWriter
from batchscope.engine.training.trainer.evaluation import Evaluation
from batchscope.engine.training.trainer.instrument_runner import FinalMeasurements, InstrumentRunner
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.reporter import Reporter
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.train_step import SLICES_PER_RUN

REPORT_SECONDS = 1.0
WITHIN_SECONDS = 5.0  # between two checkpoints within an epoch
WARM_UP_SECONDS = 0.25  # a first step that takes longer counts; a shorter one is taken again


class Trainer:
    """Trains a group of replicates from their first step to their last.

    Args:
        job: what to train, and on which device.
        images: the data set.
        state: receives each event.
        halted: returns whether all replicates must stop.
        pause: holds the training between two steps.
        dropped: returns the trials that must stop while the others continue.

    Attributes:
        training: the present state of the training.
    """

    def __init__(
        self,
        job: TrainingJob,
        images: TrainingData,
        state: Callable[[AnyEvent], None],
        halted: Callable[[], bool],
        pause: PauseGate | None = None,
        dropped: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.training = TrainingState(job, images)
        self._reporter = Reporter(self.training, state)
        self._halted, self._dropped, self._finishing = halted, dropped, False
        self._pause = pause or PauseGate()
        self._final_measurements = FinalMeasurements(self.training, self._reporter, self._pause)
        torch.set_num_threads(job.plan.threads)
        self._checkpoints = CheckpointWriter(job.checkpoints, job.attempt, self._reporter.warn)
        self._instrument_runner = InstrumentRunner(
            self.training, self._reporter, self._pause, self._save_if_due, self._stop
        )
        self._begin()
        self._resumed = self._checkpoints.restore(self.training, self._begin)

    def _begin(self) -> None:
        """Set the training up before its first step."""
        self.training.begin(partial(self._reporter.cut, evaluation=True), self._check_cancelled)

    def run(self) -> None:
        """Train to the end of the budget; the last event of each replicate is `TrialEnded`."""
        training = self.training
        if training.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(training.device)
        self._reporter.begin(self._resumed)
        try:
            self._instrument_runner.probe_if_due()
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
            self._save()
            for member in list(self.training.active):
                member.pending.clear()  # epochs in no checkpoint will be trained again
                self._end(member, "stopped", "")
        finally:
            if isinstance(training.images, TaskDataset):
                training.images.close()

    def _epoch(self) -> None:
        """Train the rest of the present epoch."""
        self.training.clock.start()
        for batch in self._batches(self._order()):
            self._step(batch)
            self._check_target(batch.shape[1])
            self._instrument_runner.probe_if_due()
            if not self.training.at.over:
                self._report()
        if self.training.at.filled:
            self._close_slice()
        self.training.synchronize()
        self.training.clock.stop()
        self._finish_epoch()

    def _order(self) -> Tensor:
        """Return the indices of the epoch's images in each replicate's order, shape (R, N)."""
        training = self.training
        replacement = training.train_settings.sampling == "with-replacement"
        size, epoch = training.images.train_size, training.at.epoch
        if isinstance(training.images, TaskDataset):
            training.images.samples.epoch = epoch
        orders = [epoch_order(size, one.seed, epoch, replacement) for one in training.job.members]
        return training.images.of_training(torch.stack(orders).to(training.device))

    def _batches(self, order: Tensor) -> Iterator[Tensor]:
        """Yield the remaining batches of an epoch.

        Args:
            order: indices of the epoch's images, shape (R, N).

        Yields:
            Indices of a batch, shape (R, B); B is the batch size of the present stage, and may
            differ in the last batch of the epoch.
        """
        at, stepper = self.training.at, self.training.stepper
        while not at.over and at.epoch_samples < order.shape[1]:
            stage = stepper.course.stage(at.steps, at.samples, self._seconds())
            stepper.enter(stage)
            left, joins = order[:, at.epoch_samples :], stepper.course.joins
            batches = in_batches(left, stage.batch_size, joins)
            if isinstance(self.training.images, TaskDataset):
                self.training.images.expect(batches, lambda: stepper.micro_batch_size)
            for batch in batches:
                yield batch
                if at.over or not stage.lasts(at.steps, at.samples, self._seconds()):
                    break

    def _seconds(self) -> float:
        """Return the seconds of training so far; 0 unless the budget is in seconds."""
        return 0.0 if self.training.train_settings.seconds is None else self.training.clock.total()

    def _step(self, batch: Tensor) -> None:
        """Take one step and update the position, so that the training can stop after it."""
        if self._pause.requested:
            self._wait_while_paused()
        raise_if(self._halted)
        if self._dropped():
            self._drop()
            if not self.training.active:
                return
        at, stepper = self.training.at, self.training.stepper
        empty = stepper.empty_batches
        if at.steps or not self._warm_up(batch):
            self._advance(batch)
        if stepper.empty_batches == empty:
            at.filled += 1
        elif not empty:
            self._reporter.warn(
                "a batch has no weight and takes no step; empty_batches counts such"
            )
        size = batch.shape[1]
        at.steps += 1
        at.samples, at.epoch_samples = at.samples + size, at.epoch_samples + size
        at.batch_size = stepper.stage.batch_size
        at.over = self._budget_spent()
        if at.filled == stepper.slice_steps or at.over or self._slice_is_long():
            self._close_slice()

    def _advance(self, batch: Tensor) -> None:
        """Update the weights with a batch, and report it if memory ran out."""
        at, seconds = self.training.at, self._seconds()
        if self.training.stepper.step(batch, at.steps + 1, at.filled, at.samples, seconds):
            at.regrowth.postpone(at.epoch)
            self._reporter.cut(self.training.stepper.micro_batch_size)
        recording = self.training.stepper.recording_seconds()
        if recording:
            self.training.clock.count_as_warm_up(recording)

    def _warm_up(self, batch: Tensor) -> bool:
        """Take the slow first step with the clock stopped, and measure its memory.

        Returns:
            Whether the step counts: True for a step so long that repeating it costs too much. A
            shorter one is undone, and its time is counted as warm-up.
        """
        self.training.synchronize()
        self.training.clock.stop()
        began = time.perf_counter()
        with self.training.evaluator.measured():
            self._advance(batch)
        self.training.synchronize()
        seconds = time.perf_counter() - began
        counts = seconds > WARM_UP_SECONDS
        if counts:
            self.training.clock.count(seconds)
        else:
            self.training.stepper.undo_first_step()
            self.training.clock.warm_up_seconds += seconds
        self.training.clock.start()
        return counts

    def _drop(self) -> None:
        """Stop the members that were dropped, between two steps."""
        with self.training.off_the_clock():
            for member in [one for one in self.training.active if one.trial.id in self._dropped()]:
                self._stop(member)

    def _stop(self, member: Replicate) -> None:
        """Stop one member; the others continue."""
        self._save()
        member.pending.clear()
        self._end(member, "stopped", "")

    def _grow_back(self) -> None:
        """Return to the planned micro-batch size some epochs after memory ran out.

        If memory runs out again, the next step halves it again.
        """
        at, stepper = self.training.at, self.training.stepper
        planned = self.training.job.plan.micro_batch_size
        if stepper.micro_batch_size < planned and at.regrowth.due(at.epoch):
            stepper.micro_batch_size = planned
            self._reporter.cut(planned, grew=True)

    def _check_target(self, batch: int) -> None:
        """Finish the members that have reached the target within an epoch.

        The clock does not count the evaluation, and it changes nothing in the training. The last
        step of an epoch or of the budget is not checked here, because the epoch's own metrics are
        compared with the target.

        Args:
            batch: number of images in the last batch.
        """
        at, train = self.training.at, self.training.train_settings
        train_size = self.training.images.train_size
        within = not at.over and at.epoch_samples < train_size and has_target(train)
        if not within or not is_check(at.epoch_samples, batch, train_size, train.target_checks):
            return
        with self.training.off_the_clock():
            (figures,) = self._evaluate("validation" if self.training.images.validates else "test")
            if any(self._meets_target(figures[one.index]) for one in self.training.active):
                self._finish(lambda member: self._meets_target(figures[member.index]))

    def _meets_target(self, figures: Evaluation) -> bool:
        loss = event_builders.finite_or_none(figures.loss)
        known = {"loss": loss, "accuracy": figures.accuracy, **figures.metrics}
        return is_met(self.training.settings, known)

    def _report(self) -> None:
        """Write a checkpoint and report the progress, if either is due."""
        pending = any(member.pending for member in self.training.active)
        if self._checkpoints.due(REPORT_SECONDS if pending else WITHIN_SECONDS):
            with self.training.off_the_clock():
                self._save()
        if self._reporter.due(REPORT_SECONDS):
            self._reporter.progress()

    def _wait_while_paused(self) -> None:
        """Wait between two steps until the pause ends; the clock does not count it."""
        self.training.synchronize()
        self._reporter.progress()
        self.training.clock.stop()
        self._save()
        self._pause.wait()
        self.training.clock.start()

    def _check_cancelled(self, trial: str) -> None:
        """Wait while the training is paused.

        Raises:
            Halted: all replicates must stop.
            Dropped: this trial must stop.
        """
        self._pause.wait()
        raise_if(self._halted)
        if trial in self._dropped():
            raise Dropped

    def _slice_is_long(self) -> bool:
        """Return whether the slice of norms has lasted a twentieth of a budget in seconds."""
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
        """End a member that had a gradient that was not finite; return whether it had one."""
        broken = self.training.stepper.norms.is_broken(member.index)
        if broken:
            steps = self.training.at.steps
            self._end(
                member, "diverged", f"the gradient was not finite at or before step {steps:,}"
            )
        return broken

    def _finish_epoch(self) -> None:
        training = self.training
        if not training.active:
            return
        self._finish(lambda member: True)
        training.at.within = False
        training.stepper.end_epoch()
        sharpness = any(member.epsilons_to_measure() for member in training.active)
        more = training.active and (not training.at.over or training.moments.left or sharpness)
        if more and self._checkpoints.due(REPORT_SECONDS):
            self._save()

    def _finish(self, chosen: Callable[[Replicate], bool]) -> None:
        """Evaluate the network at the end of an epoch, and record it for some members.

        Within an epoch, these are members that have reached the target: the epoch ends early for
        them.
        """
        train, test = self._evaluate("train", "test")
        held = self._evaluate("validation")[0] if self.training.images.validates else None
        self._finishing = True
        for member in [one for one in self.training.active if chosen(one)]:
            if not self._end_if_broken(member):
                index = member.index
                self._record(member, train[index], test[index], held[index] if held else None)
        self._finishing = False

    def _record(
        self, member: Replicate, train: Evaluation, test: Evaluation, held: Evaluation | None
    ) -> None:
        record = event_builders.epoch(self.training, member, train, test, held)
        member.pending.append(record)
        member.history.records.append(record)
        compared = held or test
        figures = [train, compared] if self.training.images.test_size else [held or train]
        if not all(math.isfinite(each.loss) for each in (train, *figures)):
            reason = f"the loss was not finite after epoch {self.training.at.epoch}"
            self._end(member, "diverged", reason)
            return
        met = self._meets_target(compared)
        if self.training.at.over or met:
            member.history.predicted = event_builders.predicted(self.training, member)
        if met:
            self._complete(member, target_text(self.training.train_settings, held is not None))

    def _complete(self, member: Replicate, reason: str = "") -> None:
        """Run the measurements that follow the last step of a member, and end it."""
        self._instrument_runner.probe_at_end(member)
        try:
            if member in self.training.active:
                self._final_measurements.measure_sharpness(member, self._save_if_due)
                self._final_measurements.save_weights(member)
                self._reporter.predicted(member)
                self._end(member, "finished", reason)
        except Dropped:
            self._stop(member)

    def _save_if_due(self) -> None:
        if self._checkpoints.due(REPORT_SECONDS):
            self._save()

    def _evaluate(self, *on: Part) -> list[list[Evaluation]]:
        return self.training.evaluator.figures(*on, first=self.training.at.epoch == 1)

    def _save(self) -> None:
        """Write a checkpoint, then report the epochs that it holds.

        Nothing is written while an epoch is being finished, because a training resumed from there
        would finish that epoch twice.
        """
        if self.training.active and not self._finishing and self._checkpoints.save(self.training):
            for member in self.training.active:
                self._reporter.epochs(member)

    def _end(self, member: Replicate, status: TrialStatus, reason: str) -> None:
        """Report the end of a member; after the last one the training is over."""
        self._reporter.end(member, status, reason)
        self.training.active.remove(member)
        if not self.training.active:
            self.training.at.over = True

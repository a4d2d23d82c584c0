"""Reports what happens to the members of a training, as events."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchscope.engine.errors import printable
from batchscope.engine.journal.events import (
    AnyEvent,
    EpochsFinished,
    MicroBatchCut,
    Note,
    Probed,
    SharpnessMeasured,
    TrialEnded,
    TrialStatus,
    WeightsKept,
)
from batchscope.engine.processes.orders import WeightsOrder
from batchscope.engine.training.trainer import event_builders, final_weights, kept_weights
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.state import TrainingState

RESTATED = 100  # epochs in one event after a resume


class Reporter:
    """Builds the events of a training and passes each to `state`."""

    def __init__(self, training: TrainingState, state: Callable[[AnyEvent], None]) -> None:
        self._training, self.state = training, state
        self._last_stated = time.monotonic()

    def due(self, apart: float) -> bool:
        """Return whether the last progress event is more than `apart` seconds old."""
        return time.monotonic() - self._last_stated > apart

    def begin(self, resumed: bool) -> None:
        """Report that all members start.

        After a resume, the earlier events are reported again: some may not have reached the journal
        when the training was interrupted.
        """
        for member in self._training.active:
            self.state(event_builders.started(self._training, member, resumed))
            if resumed:
                self._restate(member)

    def _restate(self, member: Replicate) -> None:
        history = member.history
        stated: list[MicroBatchCut | Probed | SharpnessMeasured]
        stated = [*history.cuts, *history.probes, *history.sharpness]
        for event in stated:
            self.state(msgspec.structs.replace(event, attempt=self._training.job.attempt))
        for first in range(0, len(member.history.records), RESTATED):
            member.pending = member.history.records[first : first + RESTATED]
            self.epochs(member)

    def progress(self) -> None:
        """Report the position of each member."""
        self._last_stated = time.monotonic()
        for member in self._training.active:
            self.state(event_builders.progress(self._training, member))

    def cut(
        self, size: int, evaluation: bool = False, probe: bool = False, grew: bool = False
    ) -> None:
        """Report that all members continue with another micro-batch size.

        Args:
            size: samples of the new micro-batch.
            evaluation: whether it is that of the evaluation.
            probe: whether it is that of probes or of the sharpness.
            grew: whether the planned size is tried again.
        """
        for member in self._training.active:
            event = MicroBatchCut(
                trial=member.trial.id,
                attempt=self._training.job.attempt,
                steps=self._training.at.steps,
                size=size,
                evaluation=evaluation,
                probe=probe,
                grew=grew,
            )
            member.history.cuts.append(event)
            self.state(event)

    def epochs(self, member: Replicate, last: bool = False) -> None:
        """Report the epochs that were not reported yet.

        Args:
            member: the replicate.
            last: whether its end is reported next, to be written together with these epochs.
        """
        if member.pending:
            self.state(
                EpochsFinished(
                    trial=member.trial.id,
                    attempt=self._training.job.attempt,
                    records=tuple(member.pending),
                    last=last,
                )
            )
            member.pending = []
        self._last_stated = time.monotonic()

    def predicted(self, member: Replicate) -> None:
        """Report the final predictions on the test images, unless an older checkpoint has none."""
        if member.history.predicted is not None:
            attempt = self._training.job.attempt
            self.state(msgspec.structs.replace(member.history.predicted, attempt=attempt))

    def warn(self, text: str) -> None:
        """Report a warning for the log."""
        self.state(Note(level="warning", text=text, trial=self._training.job.active[0]))

    def save_weights(self, member: Replicate, folder: Path) -> None:
        """Write the final weights to a folder, or report a warning if that fails."""
        job, at = self._training.job, self._training.at
        try:
            final_weights.save(folder, job.attempt, at.steps, member.flat)
        except OSError as error:
            why = printable(error.strerror or error)
            self.warn(f"cannot write the final weights ({why})")

    def keep_weights(self, member: Replicate, order: WeightsOrder) -> None:
        """Store the final weights with the sweep, and report it, or why that failed."""
        job = self._training.job
        try:
            event = kept_weights.keep(job, member, order)
        except OSError as error:
            why = printable(error.strerror or error)
            event = WeightsKept(trial=member.trial.id, attempt=job.attempt, reason=why)
        self.state(event)

    def end(self, member: Replicate, status: TrialStatus, reason: str) -> None:
        """Report the last epochs and the end of a member.

        Both are written to the journal together, so no checkpoint has to be written before.
        """
        self.epochs(member, last=True)
        self.state(
            TrialEnded(
                trial=member.trial.id,
                attempt=self._training.job.attempt,
                status=status,
                reason=reason,
            )
        )

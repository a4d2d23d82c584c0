"""States what becomes of the members of a training, to whoever writes it down."""

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
)
from batchscope.engine.training.trainer import event_builders, final_weights
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.state import TrainingState

RESTATED = 100  # epochs in one line


class Reporter:
    """Hands on the events of a training by `state`."""

    def __init__(self, training: TrainingState, state: Callable[[AnyEvent], None]) -> None:
        self._training, self.state = training, state
        self._last_stated = time.monotonic()

    def due(self, apart: float) -> bool:
        """Whether progress was last stated more than so many seconds ago."""
        return time.monotonic() - self._last_stated > apart

    def begin(self, resumed: bool) -> None:
        """That all begin, and after a checkpoint what may have been lost on its way before."""
        for member in self._training.active:
            self.state(event_builders.started(self._training, member, resumed))
            if resumed:
                self._restate(member)

    def _restate(self, member: Replicate) -> None:
        facts = member.facts
        stated: list[MicroBatchCut | Probed | SharpnessMeasured]
        stated = [*facts.cuts, *facts.probes, *facts.sharpness]
        for event in stated:
            self.state(msgspec.structs.replace(event, attempt=self._training.job.attempt))
        for first in range(0, len(member.facts.records), RESTATED):
            member.pending = member.facts.records[first : first + RESTATED]
            self.epochs(member)

    def progress(self) -> None:
        """How far each is."""
        self._last_stated = time.monotonic()
        for member in self._training.active:
            self.state(event_builders.progress(self._training, member))

    def cut(
        self, size: int, evaluation: bool = False, probe: bool = False, grew: bool = False
    ) -> None:
        """That all go on with another micro-batch, which is one of their facts from now on."""
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
            member.facts.cuts.append(event)
            self.state(event)

    def epochs(self, member: Replicate, last: bool = False) -> None:
        """The epochs that were not stated yet; after the `last` the end follows at once."""
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
        """What it says of the test images at its end; a checkpoint of old may not know."""
        if member.facts.predicted is not None:
            attempt = self._training.job.attempt
            self.state(msgspec.structs.replace(member.facts.predicted, attempt=attempt))

    def warn(self, text: str) -> None:
        """What is not as it should be."""
        self.state(Note(level="warning", text=text, trial=self._training.job.active[0]))

    def leave(self, member: Replicate, folder: Path) -> None:
        """Have its final weights lie in a folder; where the disk refuses, that is said."""
        job, at = self._training.job, self._training.at
        try:
            final_weights.leave(folder, job.attempt, at.steps, member.flat)
        except OSError as error:
            why = printable(error.strerror or error)
            self.warn(f"the final weights could not be written ({why})")

    def end(self, member: Replicate, status: TrialStatus, reason: str) -> None:
        """Its last words, which are written down together: so no checkpoint has to come first."""
        self.epochs(member, last=True)
        self.state(
            TrialEnded(
                trial=member.trial.id,
                attempt=self._training.job.attempt,
                status=status,
                reason=reason,
            )
        )

"""Reads a sweep's journal as it grows.

Both methods block on the disk and are called in a thread. They check whether a conductor runs
before they read the journal: if none does, nothing can be written after the check.
"""

from dataclasses import dataclass
from pathlib import Path

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.journal import column_cache, notice
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.sweeps.stored_journal import note_damage, reader_of, refuse_later


@dataclass(frozen=True, slots=True)
class JournalUpdate:
    """New events of a journal; `problem` is why some may be missing."""

    events: list[AnyEvent]
    alive: bool
    damaged: int
    problem: str = ""


class JournalFollower:
    """Reads the journal of one sweep and remembers how far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = reader_of(folder)

    def load(self) -> tuple[SweepState, JournalUpdate]:
        """Read the whole journal and fold it, so that the screen does not wait for it."""
        known = column_cache.read(self._folder)
        state = SweepState()
        if known:
            state = known.state
            self._reader.go_on(known.offset, known.damaged, known.sealed, known.rebuilt)
        alive, problem = conductor_lives(self._folder), ""
        try:
            for events in self._reader.batches():
                state.fold(events)
            refuse_later(state, self._reader.path)
        except OSError as error:
            problem = _unreadable(error)
        except UsageProblem as refused:
            problem = str(refused)
        note_damage(state, self._reader)
        return state, JournalUpdate([], alive, self._reader.damaged, problem)

    def poll(self) -> JournalUpdate:
        """Return the events since the last call."""
        alive = conductor_lives(self._folder)
        try:
            events = self._reader.read_all()
        except OSError as error:
            return JournalUpdate([], alive, self._reader.damaged, _unreadable(error))
        return JournalUpdate(events, alive, self._reader.damaged, notice.read(self._folder))


def _unreadable(error: OSError) -> str:
    return printable(f"the journal cannot be read: {error.strerror or error}")

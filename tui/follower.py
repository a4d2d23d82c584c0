"""Reads a sweep's journal as it grows.

Both methods block on the disk and are called in a thread. Whether a conductor lives is asked
before the journal is read: with nobody left to write, what is read then is the whole of it.
"""

from dataclasses import dataclass
from pathlib import Path

from engine import journal
from engine.catalog import conductor_lives
from engine.events import AnyEvent
from engine.problems import printable
from engine.state import SweepState


@dataclass(frozen=True, slots=True)
class Batch:
    """What came since the last reading."""

    events: list[AnyEvent]
    alive: bool
    damaged: int
    problem: str = ""


class Follower:
    """One viewer's place in a journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = journal.Reader(folder / journal.NAME)

    def load(self) -> tuple[SweepState, Batch]:
        """Everything written so far, folded here so that the screen never waits for it."""
        batch = self.poll()
        state = SweepState().fold(batch.events)
        return state, Batch([], batch.alive, batch.damaged, batch.problem)

    def poll(self) -> Batch:
        """The events since the last call."""
        alive = conductor_lives(self._folder)
        try:
            events = self._reader.read_all()
        except OSError as error:
            why = f"the journal cannot be read: {error.strerror or error}"
            return Batch([], alive, self._reader.damaged, printable(why))
        return Batch(events, alive, self._reader.damaged)

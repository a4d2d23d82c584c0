"""Lists the stored sweeps of a home with their states, for `list` and the menu.

Listing again is cheap: a sweep without a conductor is read once, until its files change, and of a
running one only the new events are read. Events that do not change the state of a sweep, which are
most of a journal, are skipped without decoding them.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchscope.engine.errors import UsageProblem
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import SweepEnded
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import (
    SWEEP,
    Launch,
    conductor_lives,
    digest_of,
    read_launch,
    sweep_folders,
)
from batchscope.engine.system.files import folder_bytes

TAIL = 4096
BESIDE = frozenset({"epochs", "progress", "memory", "probed", "plan", "measured", "paced"})
"""The kinds of events that change neither the state of a sweep nor that of its trials."""

Stamp = tuple[int, ...]


class StoredSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `batchscope list`.

    `seconds` is the duration of the last run, `bytes` the size of the folder on disk, `alive`
    whether a conductor runs it, `reason` why it ended (may be empty), and `digest` that of its
    `sweep.toml`.
    """

    id: str
    preset: str
    state: str
    trials: int
    finished: int
    seconds: float | None
    title: str
    folder: str
    bytes: int = 0
    alive: bool = False
    reason: str = ""
    digest: str = ""


class Fold:
    """A sweep's state without its figures, updated with the new events of its journal."""

    def __init__(self, folder: Path) -> None:
        self.state = SweepState()
        self._reader = journal.Reader(folder / journal.NAME, without=BESIDE)

    def advance(self) -> SweepState:
        """Read the new events and return the state after the journal's last complete line."""
        for batch in self._reader.batches():
            self.state.fold(batch)
        return self.state


@dataclass(slots=True)
class _Known:
    """What the last listing found; `fold` is only kept for a running sweep."""

    launch: Launch
    stamp: Stamp
    sweep: StoredSweep
    fold: Fold | None


class Listing:
    """Lists the stored sweeps of one home repeatedly; may be used from any thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    def look(self) -> list[StoredSweep]:
        """Return all stored sweeps, newest first; a folder that is not a sweep is skipped."""
        with self._lock:
            known: dict[Path, _Known] = {}
            for folder in sweep_folders(self._home):
                try:
                    known[folder] = self._at(folder)
                except (UsageProblem, OSError):
                    continue
            self._known = known
            return [each.sweep for each in known.values()]

    def _at(self, folder: Path) -> _Known:
        known = self._known.get(folder)
        alive = conductor_lives(folder)
        stamp = _stamp(folder)
        if known and not alive and not known.sweep.alive and known.stamp == stamp:
            return known
        launch = known.launch if known else read_launch(folder)
        fold = known.fold if known else None
        if alive and fold is None:
            fold = Fold(folder)
        return _Known(
            launch, stamp, _described(folder, launch, alive, fold), fold if alive else None
        )


def stored_sweeps(home: Path) -> list[StoredSweep]:
    """Return all stored sweeps, newest first; a folder that is not a sweep is skipped."""
    return Listing(home).look()


def describe(folder: Path) -> StoredSweep:
    """Return one stored sweep as `list` and the menu show it.

    Raises:
        UsageProblem: the folder has no readable sweep.
        OSError: it cannot be read.
    """
    return _described(folder, read_launch(folder), conductor_lives(folder), None)


def _described(folder: Path, launch: Launch, alive: bool, fold: Fold | None) -> StoredSweep:
    ended = None if alive else _ending(folder / journal.NAME)
    if ended:
        return StoredSweep(
            id=folder.name,
            preset=launch.preset,
            state=ended.state,
            trials=ended.trials,
            finished=ended.finished,
            seconds=ended.seconds,
            title=_title(folder),
            folder=str(folder),
            bytes=folder_bytes(folder),
            reason=ended.reason,
            digest=_digest(folder),
        )
    state = (fold or Fold(folder)).advance()
    phase = state.phase(alive)
    return StoredSweep(
        id=folder.name,
        preset=launch.preset,
        state="running" if phase == "preparing" else phase,
        trials=len(state.trials) + trials_to_come(state),
        finished=state.count("finished"),
        seconds=None,
        title=state.opened.title if state.opened else "",
        folder=str(folder),
        bytes=folder_bytes(folder),
        alive=alive,
        digest=_digest(folder),
    )


def _digest(folder: Path) -> str:
    try:
        return digest_of((folder / SWEEP).read_bytes())
    except OSError:
        return ""


def _stamp(folder: Path) -> Stamp:
    """Return a value that changes with the journal and with the names of the folder's files."""
    moments = folder.stat()
    try:
        written = (folder / journal.NAME).stat()
    except FileNotFoundError:
        return (moments.st_mtime_ns,)
    return (moments.st_mtime_ns, written.st_mtime_ns, written.st_size, written.st_ino)


def _ending(path: Path) -> SweepEnded | None:
    """Return the journal's last event if it is the end of the sweep."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().splitlines()
        event = journal.decode(lines[-1]) if lines else None
    except (OSError, msgspec.MsgspecError):
        return None
    return event if isinstance(event, SweepEnded) else None


class _Titled(msgspec.Struct, tag_field="kind", tag="sweep"):
    """`SweepOpened` without the configurations, which may be many."""

    title: str


def _title(folder: Path) -> str:
    try:
        with open(folder / journal.NAME, "rb") as file:
            file.readline()
            return msgspec.json.decode(file.readline(), type=_Titled).title
    except (OSError, msgspec.MsgspecError):
        return ""

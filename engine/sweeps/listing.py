"""How the stored sweeps of a home stand: what `list` and the menu tell of each.

Looking again is cheap: a sweep that nobody runs is read once, until its files change, and of one
that runs only what was written since. Lines that say nothing about how a sweep stands, which is
nearly all of a journal, are passed over undecoded.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchscope.engine.errors import UsageProblem
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import SweepEnded
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
"""The kinds of events that move neither a sweep's state nor that of its trials."""

Stamp = tuple[int, ...]


class StoredSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `batchscope list`; `seconds` is the length of the last run.

    `bytes` is what its folder takes on the disk, `alive` whether a conductor runs it, `reason` why
    it ended as it did, where its conductor said so. `digest` is that of its `sweep.toml`.
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
    """A sweep's state without its figures, brought up to date by what is new in its journal."""

    def __init__(self, folder: Path) -> None:
        self.state = SweepState()
        self._reader = journal.Reader(folder / journal.NAME, without=BESIDE)

    def advance(self) -> SweepState:
        """The state as of the journal's last whole line."""
        for batch in self._reader.batches():
            self.state.fold(batch)
        return self.state


@dataclass(slots=True)
class _Known:
    """What was found at the last look; `fold` is kept of a sweep that runs alone."""

    launch: Launch
    stamp: Stamp
    sweep: StoredSweep
    fold: Fold | None


class Listing:
    """The stored sweeps of one home, looked at again and again, from any thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    def look(self) -> list[StoredSweep]:
        """All stored sweeps, newest first; a folder that holds none is passed over."""
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
    """All stored sweeps, newest first; a folder that holds none is passed over."""
    return Listing(home).look()


def describe(folder: Path) -> StoredSweep:
    """What `list` and the menu say of a stored sweep.

    Raises:
        UsageProblem: the folder holds no readable sweep.
        OSError: the disk refuses.
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
        trials=len(state.trials),
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
    """Differs once the journal was written to, or a file came into the folder or went."""
    moments = folder.stat()
    try:
        written = (folder / journal.NAME).stat()
    except FileNotFoundError:
        return (moments.st_mtime_ns,)
    return (moments.st_mtime_ns, written.st_mtime_ns, written.st_size, written.st_ino)


def _ending(path: Path) -> SweepEnded | None:
    """The journal's last line, if it says that the sweep ended."""
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

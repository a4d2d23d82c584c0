"""Lists the stored sweeps of a home with their states, for `list` and the menu.

Listing again is cheap: a sweep without a conductor is read once, until its files change, and of a
running one only the new events are read. Events that do not change the state of a sweep, which are
most of a journal, are skipped without decoding them.
"""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from batchscope.engine.errors import printable
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import SweepEnded
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launch_file import LAUNCH, look_up
from batchscope.engine.sweeps.store import LOCK, SWEEP, conductor_lives, sweep_folders
from batchscope.engine.sweeps.stored_journal import reader_of
from batchscope.engine.sweeps.sweep_file import digest_of, is_changed, other_sweep
from batchscope.engine.system.files import folder_bytes
from batchscope.engine.system.untrusted_files import open_regular, read_bytes, read_tail

TAIL = 4096
BESIDE = frozenset({"epochs", "progress", "memory", "probed", "plan", "measured", "paced"})
"""The kinds of events that change neither the state of a sweep nor that of its trials."""

Stamp = tuple[int, ...]


class StoredSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `batchscope list`.

    `seconds` is the duration of the last run, `bytes` the size of the folder on disk, `alive`
    whether a conductor runs it, `reason` why it ended (may be empty), and `digest` that of its
    `sweep.toml`. `problem` says what is damaged; empty if nothing is known to be. Then the figures
    are those that can still be read, and `state` is `damaged` if even it is not known.
    `best` and `worst` are the ends of the results of a sweep that has ended, in its `metric`; empty
    and None if it has none, or was recorded by a version that did not note them.
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
    problem: str = ""
    metric: str = ""
    best: float | None = None
    worst: float | None = None


class Fold:
    """A sweep's state without its figures, updated with the new events of its journal."""

    def __init__(self, folder: Path) -> None:
        self.state = SweepState()
        self._reader = reader_of(folder, without=BESIDE)

    def advance(self) -> SweepState:
        """Read the new events and return the state after the journal's last complete line.

        Raises:
            OSError: the journal cannot be read, or something else is in its place.
        """
        for batch in self._reader.batches():
            self.state.fold(batch)
        self.state.damaged, self.state.rebuilt = self._reader.damaged, self._reader.rebuilt
        return self.state


@dataclass(slots=True)
class _Facts:
    """What the files next to the journal say: they change only with the folder's stamp.

    `preset` is the name in `launch.json`, or the last part of the folder's name.
    """

    preset: str
    problems: list[str] = field(default_factory=list)
    digest: str = ""


@dataclass(slots=True)
class _Known:
    """What the last listing found; `fold` is only kept for a running sweep."""

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
        """Return all stored sweeps, newest first, those that are damaged too."""
        with self._lock:
            self._known = {folder: self._at(folder) for folder in sweep_folders(self._home)}
            return [each.sweep for each in self._known.values()]

    def _at(self, folder: Path) -> _Known:
        known = self._known.get(folder)
        alive = conductor_lives(folder)
        stamp = _stamp(folder)
        if known and not alive and not known.sweep.alive and known.stamp == stamp:
            return known
        fold = known.fold if known else None
        if alive and fold is None:
            fold = Fold(folder)
        return _Known(stamp, _described(folder, alive, fold), fold if alive else None)


def stored_sweeps(home: Path) -> list[StoredSweep]:
    """Return all stored sweeps, newest first, those that are damaged too."""
    return Listing(home).look()


def describe(folder: Path) -> StoredSweep:
    """Return one stored sweep as `list` and the menu show it, whatever is damaged."""
    return _described(folder, conductor_lives(folder), None)


def _described(folder: Path, alive: bool, fold: Fold | None) -> StoredSweep:
    facts = _facts(folder)
    ended = None if alive else _ending(folder / journal.NAME)
    if ended:
        opening = _opening(folder)
        title = opening.title if opening else ""
        if opening is None or opening.id != folder.name:
            with suppress(OSError):
                state = Fold(folder).advance()
                title = state.opened.title if state.opened else ""
                facts.problems += _lost_lines(state) + _foreign(folder, state)
        return StoredSweep(
            id=folder.name,
            preset=facts.preset,
            state=ended.state,
            trials=ended.trials,
            finished=ended.finished,
            seconds=ended.seconds,
            title=title,
            folder=str(folder),
            bytes=folder_bytes(folder),
            reason=ended.reason,
            digest=facts.digest,
            problem="; ".join(facts.problems),
            metric=ended.metric,
            best=ended.best,
            worst=ended.worst,
        )
    try:
        state = (fold or Fold(folder)).advance()
        phase: str = state.phase(alive)
    except OSError as error:
        state, phase = SweepState(), "damaged"
        facts.problems.append(f"{journal.NAME}: {printable(error.strerror or error)}")
    facts.problems += _lost_lines(state) + _foreign(folder, state)
    if facts.problems and state.opened is None and not alive:
        phase = "damaged"
    return StoredSweep(
        id=folder.name,
        preset=facts.preset,
        state="running" if phase == "preparing" else phase,
        trials=len(state.trials) + trials_to_come(state),
        finished=state.count("finished"),
        seconds=None,
        title=state.opened.title if state.opened else "",
        folder=str(folder),
        bytes=folder_bytes(folder),
        alive=alive,
        digest=facts.digest,
        problem="; ".join(facts.problems),
    )


def _foreign(folder: Path, state: SweepState) -> list[str]:
    found = other_sweep(folder, state)
    return [found] if found else []


def _lost_lines(state: SweepState) -> list[str]:
    if not state.lost:
        return []
    lines = "a damaged line" if state.lost == 1 else f"{state.lost:,} damaged lines"
    return [f"{journal.NAME} has {lines}"]


def _facts(folder: Path) -> _Facts:
    """Return what is known without the journal."""
    facts = _Facts(folder.name.split("-", 2)[-1])
    if folder.is_symlink():
        facts.problems.append("the folder is a link to another place")
    try:
        os.scandir(folder).close()
    except OSError as error:
        facts.problems.append(f"the folder cannot be read: {error.strerror}")
        return facts
    launch, problem = look_up(folder)
    if launch is None:
        facts.problems.append(problem)
    else:
        facts.preset = launch.preset
    try:
        content = read_bytes(folder / SWEEP, follow=False)
        facts.digest = digest_of(content)
        if is_changed(content):
            facts.problems.append(f"{SWEEP} is damaged")
    except FileNotFoundError:
        facts.problems.append(f"{SWEEP} is missing")
    except OSError as error:
        facts.problems.append(f"{SWEEP}: {error.strerror}")
    if os.path.lexists(folder / LOCK) and not os.path.lexists(folder / journal.NAME):
        facts.problems.append(f"{journal.NAME} is missing")
    return facts


def _stamp(folder: Path) -> Stamp:
    """Return a value that changes with the sweep's files and with their names."""
    found: list[int] = []
    here = os.fspath(folder)  # strings: this is done for every sweep at every look
    for path in (here, *(f"{here}/{name}" for name in (journal.NAME, LAUNCH, SWEEP))):
        try:
            status = os.lstat(path)
        except OSError as error:
            found.append(-(error.errno or 1))
            continue
        found += (status.st_mtime_ns, status.st_size, status.st_ino)
    return tuple(found)


def _ending(path: Path) -> SweepEnded | None:
    """Return the journal's last event if it is the end of the sweep."""
    try:
        lines = read_tail(path, TAIL, follow=False).splitlines()
        event = journal.decode(lines[-1]) if lines else None
    except (OSError, msgspec.MsgspecError):
        return None
    return event if isinstance(event, SweepEnded) else None


class _Opening(msgspec.Struct, tag_field="kind", tag="sweep"):
    """`SweepOpened` without the configurations, which may be many."""

    id: str
    title: str


def _opening(folder: Path) -> _Opening | None:
    """Return what the journal's second line says; None if it is not there or damaged."""
    try:
        with open_regular(folder / journal.NAME, most=None, follow=False) as file:
            file.readline(journal.LONGEST_LINE)
            line = file.readline(journal.LONGEST_LINE)
        if journal.is_intact(line.rstrip(b"\n")):
            return msgspec.json.decode(line, type=_Opening)
    except (OSError, ValueError, RecursionError):
        pass
    return None

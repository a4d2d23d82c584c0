"""Opens what a person names as one side of a comparison: an export, or a stored sweep.

An export has its sweep's journal in it, so both are read alike: by folding the journal.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.export.bundle import FORMAT, MANIFEST
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import JOURNAL_VERSION, JournalOpened
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import LAUNCH, conductor_lives, find_sweep
from batchscope.engine.system.files import is_folder, is_there


class Opened(Struct, frozen=True, kw_only=True):
    """A sweep with its figures, and where it came from.

    `written` is what the person wrote, `phase` how the sweep stood when it was exported, or stands
    now. `versions` are of batchscope, torch and Python. `damaged` lines of the journal were passed
    over.
    """

    written: str
    id: str
    state: SweepState
    phase: str
    versions: dict[str, str]
    damaged: int

    @property
    def pending(self) -> int:
        """Trials that have not ended yet."""
        return sum(not trial.done for trial in self.state.trials.values())


def opened(written: str, home: Callable[[], Path]) -> Opened:
    """The export in the folder of that name, or else the stored sweep of that id in the `home`.

    Raises:
        UsageProblem: it is neither, or an export that is damaged or of a later version.
        MachineProblem: it cannot be read.
    """
    path = Path(written)
    is_path = os.sep in written or written in (".", "..")
    if is_folder(path) and (is_path or is_there(path / MANIFEST)):
        return _export(written, path)
    if is_path:
        what = "is a file; an export is a folder" if is_there(path) else "no such folder"
        raise UsageProblem(f"{printable(written)}: {what}")
    try:
        folder = find_sweep(home(), written)
    except UsageProblem as problem:
        if not is_there(path):
            raise UsageProblem(f"{problem}, and no export is in a folder of that name") from None
        raise UsageProblem(f"{problem} ({printable(written)} is here, but no export)") from None
    return _read(written, folder.name, folder, lambda state: state.phase(conductor_lives(folder)))


def _export(written: str, folder: Path) -> Opened:
    """An export, or the folder of a stored sweep that was named by its path."""
    if not is_there(folder / MANIFEST) and is_there(folder / LAUNCH):
        alive = conductor_lives(folder)
        return _read(written, folder.resolve().name, folder, lambda state: state.phase(alive))
    manifest = _manifest(folder)
    name, phase = printable(manifest["sweep"]), printable(manifest["state"])
    return _read(written, name, folder, lambda _: phase)


def _manifest(folder: Path) -> dict[str, Any]:
    where = printable(folder / MANIFEST)
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise UsageProblem(
            f"{printable(folder)}: is no export of batchscope: it has no {MANIFEST}"
        ) from None
    except OSError as error:
        raise MachineProblem(f"{where}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageProblem(f"{where}: is damaged: it is no JSON") from None
    if not isinstance(manifest, dict) or manifest.get("program") != "batchscope":
        raise UsageProblem(f"{where}: is not that of an export of batchscope")
    version = manifest.get("format")
    if not isinstance(version, int) or not {"sweep", "state"} <= manifest.keys():
        raise UsageProblem(f"{where}: is damaged: it lacks format, sweep or state")
    if version > FORMAT:
        raise UsageProblem(
            f"{where}: format {version} is of a later batchscope; this one reads up to {FORMAT}"
        )
    return manifest


def _read(written: str, name: str, folder: Path, phase: Callable[[SweepState], str]) -> Opened:
    path = folder / journal.NAME
    reader, state, program = journal.Reader(path), SweepState(), ""
    try:
        for events in reader.batches():
            for event in events:
                if isinstance(event, JournalOpened):
                    _check_version(event, path)
                    program = event.program
            state.fold(events)
    except OSError as error:
        raise MachineProblem(f"{printable(path)}: {error.strerror or error}") from None
    if state.opened is None:
        what = "says nothing of a sweep" if is_there(path) else "is not there"
        raise UsageProblem(f"{printable(path)}: {what}, so there is nothing to compare")
    return Opened(
        written=printable(written),
        id=name,
        state=state,
        phase=phase(state),
        versions={"batchscope": program, **state.versions},
        damaged=reader.damaged,
    )


def _check_version(event: JournalOpened, path: Path) -> None:
    if event.version > JOURNAL_VERSION:
        raise UsageProblem(
            f"{printable(path)}: version {event.version} is of a later batchscope "
            f"({printable(event.program)}); this one reads up to {JOURNAL_VERSION}"
        )

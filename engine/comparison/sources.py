"""Opens one side of a comparison: an export or a stored sweep.

An export contains the journal of its sweep, so both are read by folding the journal.
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
    """A sweep to be compared, and where it came from.

    Attributes:
        written: the name that the command line gave.
        id: id of the sweep.
        state: the folded journal.
        phase: state of the sweep now, or when it was exported.
        versions: of batchscope, torch and Python.
        damaged: number of journal lines that were skipped.
    """

    written: str
    id: str
    state: SweepState
    phase: str
    versions: dict[str, str]
    damaged: int

    @property
    def pending(self) -> int:
        """Return how many trials have not ended."""
        return sum(not trial.done for trial in self.state.trials.values())


def opened(written: str, home: Callable[[], Path]) -> Opened:
    """Open the export in the folder of that name, or else the stored sweep with that id.

    Args:
        written: path of a folder, or id of a sweep (or its start or end).
        home: returns the folder of the stored sweeps.

    Raises:
        UsageProblem: there is neither, or the export is damaged or of a later version.
        MachineProblem: it cannot be read.
    """
    path = Path(written)
    is_path = os.sep in written or written in (".", "..")
    if is_folder(path) and (is_path or is_there(path / MANIFEST)):
        return _export(written, path)
    if is_path:
        what = "is a file; name the folder of an export" if is_there(path) else "no such folder"
        raise UsageProblem(f"{printable(written)}: {what}")
    try:
        folder = find_sweep(home(), written)
    except UsageProblem as problem:
        if not is_there(path):
            raise UsageProblem(f"{problem}, and there is no export of that name") from None
        raise UsageProblem(f"{problem} ({printable(written)} here is not an export)") from None
    return _read(written, folder.name, folder, lambda state: state.phase(conductor_lives(folder)))


def _export(written: str, folder: Path) -> Opened:
    """Open an export, or a stored sweep that was named by the path of its folder."""
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
            f"{printable(folder)}: is not a batchscope export: it has no {MANIFEST}"
        ) from None
    except OSError as error:
        raise MachineProblem(f"{where}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageProblem(f"{where}: is damaged: it is not valid JSON") from None
    if not isinstance(manifest, dict) or manifest.get("program") != "batchscope":
        raise UsageProblem(f"{where}: is not from a batchscope export")
    version = manifest.get("format")
    if not isinstance(version, int) or not {"sweep", "state"} <= manifest.keys():
        raise UsageProblem(f"{where}: is damaged: format, sweep or state is missing")
    if version > FORMAT:
        raise UsageProblem(
            f"{where}: format {version} needs a later batchscope; this one reads up to {FORMAT}"
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
        what = "has no sweep in it" if is_there(path) else "does not exist"
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
            f"{printable(path)}: version {event.version} needs a later batchscope "
            f"({printable(event.program)}); this one reads up to {JOURNAL_VERSION}"
        )

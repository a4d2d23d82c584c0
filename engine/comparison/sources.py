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
from batchscope.engine.export.bundle import FORMAT
from batchscope.engine.export.own_files import MANIFEST
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import LAUNCH, LOCK, conductor_lives, find_sweep
from batchscope.engine.sweeps.stored_journal import load_state
from batchscope.engine.system.files import is_folder, is_there
from batchscope.engine.system.untrusted_files import decode_json, is_damage, read_bytes


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
        written: path of a folder, or id of a sweep (or a part of it).
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
    stored = any(os.path.lexists(folder / name) for name in (LAUNCH, LOCK))
    if stored and not is_there(folder / MANIFEST):
        alive = conductor_lives(folder)
        return _read(written, folder.resolve().name, folder, lambda state: state.phase(alive))
    manifest = _manifest(folder)
    name, phase = printable(manifest["sweep"]), printable(manifest["state"])
    return _read(written, name, folder, lambda _: phase)


def _manifest(folder: Path) -> dict[str, Any]:
    where = printable(folder / MANIFEST)
    try:
        manifest = decode_json(read_bytes(folder / MANIFEST), dict[str, Any])
    except FileNotFoundError:
        raise UsageProblem(
            f"{printable(folder)}: is not a batchscope export: it has no {MANIFEST}"
        ) from None
    except OSError as error:
        kind = UsageProblem if is_damage(error) else MachineProblem
        raise kind(f"{where}: {printable(error.strerror or error)}") from None
    except msgspec.ValidationError:
        raise UsageProblem(f"{where}: is not from a batchscope export") from None
    except ValueError:
        raise UsageProblem(f"{where}: is damaged: it is not valid JSON") from None
    if manifest.get("program") != "batchscope":
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
    state, path = load_state(folder, name), folder / journal.NAME
    if state.opened is None:
        what = "has no sweep in it" if is_there(path) else "does not exist"
        raise UsageProblem(f"{printable(path)}: {what}, so there is nothing to compare")
    return Opened(
        written=printable(written),
        id=name,
        state=state,
        phase=phase(state),
        versions={"batchscope": state.program, **state.versions},
        damaged=state.lost,
    )

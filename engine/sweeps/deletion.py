"""Deletes a stored sweep: removes it from the list in one step, then from the disk."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.sweeps.store import read_launch, take_lock

REMOVED = "removed"
PATIENCE_SECONDS = 0.3


def delete_sweep(folder: Path) -> None:
    """Delete the sweep in `folder`, its checkpoints elsewhere, and the rest of earlier deletions.

    The folder is first moved out of the list while its lock is held. So a crash leaves no partial
    sweep in the list, and no conductor can start on it meanwhile.

    Raises:
        UsageProblem: a conductor runs the sweep.
        MachineProblem: it cannot be deleted; the message says which folder remains.
    """
    shown, elsewhere = printable(folder.name), _kept_elsewhere(folder)
    removed = folder.parent.parent / REMOVED
    try:
        lock = take_lock(folder, PATIENCE_SECONDS)
        if lock is None:
            raise UsageProblem(f"{shown}: running; stop it first")
        try:
            removed.mkdir(mode=0o700, exist_ok=True)
            folder.rename(Path(tempfile.mkdtemp(dir=removed)) / folder.name)
        finally:
            os.close(lock)
    except OSError as error:
        raise MachineProblem(f"{shown}: cannot be deleted: {error.strerror or error}") from None
    shutil.rmtree(removed, ignore_errors=True)
    if elsewhere:
        _delete_there(elsewhere, shown)
    with contextlib.suppress(FileNotFoundError):
        if any(removed.iterdir()):
            raise MachineProblem(
                f"{shown}: removed from the list, but not all files could be deleted; "
                f"delete the rest in {printable(removed)}"
            )


def _kept_elsewhere(folder: Path) -> str:
    """Return the folder or URL with only this sweep's checkpoints.

    Empty if there is none, or if the launch file is damaged.
    """
    with contextlib.suppress(UsageProblem):
        where = read_launch(folder).checkpoints
        if where.rpartition("/")[2].startswith(f"{folder.name}-"):
            return where
    return ""


def _delete_there(where: str, shown: str) -> None:
    from batchscope.engine.checkpoints.remote_store import open_store

    try:
        open_store(where).remove()
    except Exception as error:  # each kind of store raises its own errors
        raise MachineProblem(
            f"{shown}: deleted, but its checkpoints in {printable(where)} could not be "
            f"deleted: {printable(error)}"
        ) from None

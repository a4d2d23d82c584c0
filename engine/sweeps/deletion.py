"""Deletes a stored sweep: out of the list in one step, then off the disk."""

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
    """Delete the sweep in `folder`, with whatever an earlier deletion could not finish.

    What it kept elsewhere, for the nodes of a cluster, goes too. It is moved out of the list first,
    while its lock is held, so that a crash leaves no half sweep and nobody takes it up meanwhile.

    Raises:
        UsageProblem: a conductor runs it.
        MachineProblem: the disk refuses; the message says where what is left of it lies.
    """
    shown, elsewhere = printable(folder.name), _kept_elsewhere(folder)
    removed = folder.parent.parent / REMOVED
    try:
        lock = take_lock(folder, PATIENCE_SECONDS)
        if lock is None:
            raise UsageProblem(f"{shown}: is running; stop it first")
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
                f"{shown}: is off the list, but not all of it could be deleted; "
                f"the rest lies in {printable(removed)}"
            )


def _kept_elsewhere(folder: Path) -> str:
    """The place that is this sweep's alone; empty where there is none, or its launch is damaged."""
    with contextlib.suppress(UsageProblem):
        where = read_launch(folder).checkpoints
        if where.rpartition("/")[2].startswith(f"{folder.name}-"):
            return where
    return ""


def _delete_there(where: str, shown: str) -> None:
    from batchscope.engine.checkpoints.remote_store import open_store

    try:
        open_store(where).remove()
    except Exception as error:  # each store has errors of its own
        raise MachineProblem(
            f"{shown}: is off the list, but what it kept in {printable(where)} could not be "
            f"deleted: {printable(error)}"
        ) from None

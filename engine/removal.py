"""Deletes a stored sweep: out of the list in one step, then off the disk."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from engine.locking import take_lock
from engine.problems import MachineProblem, UsageProblem, printable

REMOVED = "removed"
PATIENCE_SECONDS = 0.3


def delete_sweep(folder: Path) -> None:
    """Delete the sweep in `folder`, with whatever an earlier deletion could not finish.

    It is moved out of the list first, while its lock is held, so that a crash leaves no half
    sweep and nobody can take it up meanwhile.

    Raises:
        UsageProblem: a conductor runs it.
        MachineProblem: the disk refuses; the message says where what is left of it lies.
    """
    shown = printable(folder.name)
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
    with contextlib.suppress(FileNotFoundError):
        if any(removed.iterdir()):
            raise MachineProblem(
                f"{shown}: is off the list, but not all of it could be deleted; "
                f"the rest lies in {printable(removed)}"
            )

"""Deletes a stored sweep: removes it from the list in one step, then from the disk."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from batchscope.engine.errors import MachineProblem, UsageProblem, printable
from batchscope.engine.sweeps.store import LOCK, conductor_lives, read_launch, take_lock
from batchscope.engine.sweeps.unfinished_folders import PREFIX, clear_unfinished
from batchscope.engine.system.files import discard
from batchscope.engine.system.locks import MISSING
from batchscope.engine.system.private_folders import check_unshared, make_private
from batchscope.engine.system.untrusted_files import is_damage

REMOVED = "removed"
PATIENCE_SECONDS = 0.3
OPEN_INSIDE = frozenset({errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EPERM})
"""How SMB refuses to rename a folder in which a file is open."""


def delete_sweep(folder: Path) -> None:
    """Delete the sweep in `folder`, its checkpoints elsewhere, and the rest of earlier deletions.

    The folder is first moved out of the list while its lock is held. So a crash leaves no partial
    sweep in the list, and no conductor can start on it meanwhile. A damaged sweep is deleted, too.
    Of a link to a folder only the link is.

    Raises:
        UsageProblem: a conductor runs the sweep.
        MachineProblem: it cannot be deleted; the message says which folder remains.
    """
    shown, elsewhere = printable(folder.name), ""
    removed = _removed_beside(folder.parent)
    try:
        check_unshared(folder.parent)
        if folder.is_symlink():
            if conductor_lives(folder):
                raise UsageProblem(f"{shown}: running; stop it first")
            folder.unlink()
        else:
            elsewhere = _kept_elsewhere(folder)
            _move_away(folder, removed, shown)
    except OSError as error:
        raise MachineProblem(f"{shown}: cannot be deleted: {error.strerror or error}") from None
    discard(removed)
    clear_unfinished(folder.parent)
    if elsewhere:
        _delete_there(elsewhere, shown)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if any(removed.iterdir()):
            raise MachineProblem(
                f"{shown}: removed from the list, but not all files could be deleted; "
                f"delete the rest in {printable(removed)}"
            )


def _removed_beside(sweeps: Path) -> Path:
    """Return the folder for deleted sweeps: in the home, or on the disk that `sweeps` leads to."""
    if sweeps.is_symlink():
        return sweeps / f".{REMOVED}"
    return sweeps.parent / REMOVED


def _move_away(folder: Path, removed: Path, shown: str) -> None:
    """Move a folder out of the list.

    Raises:
        UsageProblem: a conductor runs the sweep.
        OSError: it cannot be moved.
    """
    if stat.S_IMODE(folder.lstat().st_mode) & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IRWXU)
    place, lock = _place(folder, removed), _lock_of(folder, shown)
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno not in OPEN_INSIDE or lock < 0:
            raise
        # on SMB neither this lock nor that of a conductor may be open
        os.close(lock)
        lock = -1
        folder.rename(place)
    finally:
        if lock >= 0:
            os.close(lock)


def _lock_of(folder: Path, shown: str) -> int:
    """Take the sweep's lock; return -1 if there is none that a conductor could hold.

    Nobody can hold what is no file, or where files cannot be locked; and a full disk has no room
    for a new one.

    Raises:
        UsageProblem: a conductor holds it.
        OSError: it cannot be taken.
    """
    try:
        lock = take_lock(folder, PATIENCE_SECONDS)
    except OSError as error:
        absent = is_damage(error) or not os.path.lexists(folder / LOCK) or error.errno in MISSING
        if not folder.is_dir() or not absent:
            raise
        return -1
    if lock is None:
        raise UsageProblem(f"{shown}: running; stop it first")
    return lock


def _place(folder: Path, removed: Path) -> Path:
    """Return a new path for a folder: in `removed`, or hidden beside it if the disk is full.

    Raises:
        PermissionError: `removed` is another user's, or a link of theirs.
    """
    try:
        if removed.is_symlink():
            check_unshared(removed)
            removed.unlink()
        make_private(folder.parent, removed)
        return Path(tempfile.mkdtemp(dir=removed)) / folder.name
    except PermissionError:
        raise
    except OSError:
        return folder.with_name(f"{PREFIX}{folder.name}")


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
    """Delete the checkpoints in a folder or at a URL, if this program has marked it as its own."""
    from batchscope.engine.checkpoints.remote_store import open_store

    try:
        store = open_store(where)
        if store.is_marked():
            store.remove_ours()
    except Exception as error:  # each kind of store raises its own errors
        raise MachineProblem(
            f"{shown}: deleted, but its checkpoints in {printable(where)} could not be "
            f"deleted: {printable(error)}"
        ) from None

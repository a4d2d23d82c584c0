"""Folders of sweeps that are being created: hidden, locked, and removed if they are not completed.

The lock ends with the process, so what nobody holds was left by a program that was killed.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from batchscope.engine.system.files import discard

PREFIX = ".new-"


@contextlib.contextmanager
def unfinished_folder(sweeps: Path) -> Iterator[Path]:
    """Create a folder below `sweeps`, and remove it afterwards unless it was moved.

    Raises:
        OSError: it cannot be created.
    """
    clear_unfinished(sweeps)
    fresh, lock = _held(sweeps)
    try:
        yield fresh
    finally:
        discard(fresh)
        os.close(lock)


def _held(sweeps: Path) -> tuple[Path, int]:
    """Create a folder and lock it; retry if another process removed it before the lock."""
    while True:
        fresh = Path(tempfile.mkdtemp(prefix=PREFIX, dir=sweeps))
        lock = -1
        try:
            lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fresh.exists():
                return fresh, lock
        except FileNotFoundError:
            pass
        except BaseException:
            discard(fresh)
            raise
        if lock >= 0:
            os.close(lock)


def clear_unfinished(sweeps: Path) -> None:
    """Remove the folders that killed programs left; one that cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(sweeps) as entries:
        for entry in list(entries):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _clear(entry.path)


def _clear(path: str) -> None:
    """Remove a folder unless a process holds its lock.

    Raises:
        OSError: a process holds it, or it cannot be opened.
    """
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        discard(Path(path))
    finally:
        os.close(lock)

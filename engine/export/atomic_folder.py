"""Replaces a folder atomically, and removes incomplete folders that a killed program left.

A new folder is filled next to its final place, under a name that only this module uses, and locked
until the process ends. So an unlocked folder with such a name is left over, and can be removed.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2
NAMED = 40
"""How many characters of the target's name the name of the new folder contains."""
HALF_MADE, ASIDE = "batchscope-export", "batchscope-replaced"


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Create a new folder on the same disk as `target`, and remove it afterwards unless moved.

    Incomplete folders that killed exports to `target` left are removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear(target)
    fresh, lock = _held(target)
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(lock)


def replace(fresh: Path, target: Path) -> None:
    """Move `fresh` to `target`; in one step if the system can exchange folders."""
    if not target.exists():
        fresh.rename(target)
    elif not _exchange(fresh, target):
        aside = Path(tempfile.mkdtemp(prefix=_prefix(target, ASIDE), dir=target.parent))
        target.rename(aside)
        fresh.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _prefix(target: Path, kind: str) -> str:
    return f".{target.name[:NAMED]}.{kind}-"


def _held(target: Path) -> tuple[Path, int]:
    """Create a new folder and lock it; retry if another process removed it before the lock."""
    while True:
        fresh = Path(tempfile.mkdtemp(prefix=_prefix(target, HALF_MADE), dir=target.parent))
        lock = os.open(fresh, os.O_RDONLY)
        _lock(lock)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), fresh.stat()):
                return fresh, lock
        os.close(lock)


def _clear(target: Path) -> None:
    """Remove incomplete folders next to `target` that no process has locked."""
    wanted = re.compile(re.escape(_prefix(target, HALF_MADE)) + "[a-z0-9_]{8}")
    for entry in list(os.scandir(target.parent)):
        if wanted.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                lock = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if _lock(lock):
                        shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(lock)


def _lock(descriptor: int) -> bool:
    """Lock a folder as long as the descriptor is open; return False if that is impossible."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders with Linux's renameat2; return False where it is not available."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "renameat2"):
        return False
    done = library.renameat2(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
    )
    return bool(done == 0)

"""Puts a folder in the place of another at once, and clears what a killed program left half made.

A folder is filled beside its place, under a name that only this room gives, and held by a lock that
ends with the process. So whatever has such a name and nobody holds is left over, and may go.
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
"""As many characters of the folder's own name are in that of the one beside it."""
HALF_MADE, ASIDE = "batchscope-export", "batchscope-replaced"


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A new folder on the same disk as `target`, gone afterwards unless it was moved.

    What exports to `target` left half made because they were killed is removed first.
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
    """Put `fresh` in the place of `target`: one step where the system can exchange folders."""
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
    """A new folder with a lock on it; another where somebody cleared it before it was locked."""
    while True:
        fresh = Path(tempfile.mkdtemp(prefix=_prefix(target, HALF_MADE), dir=target.parent))
        lock = os.open(fresh, os.O_RDONLY)
        _lock(lock)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), fresh.stat()):
                return fresh, lock
        os.close(lock)


def _clear(target: Path) -> None:
    """Remove the folders beside `target` that were half made and that nobody holds."""
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
    """Lock a folder as long as the descriptor is open; False where it is held, or cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Linux's renameat2 with RENAME_EXCHANGE; False where there is none."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "renameat2"):
        return False
    done = library.renameat2(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
    )
    return bool(done == 0)

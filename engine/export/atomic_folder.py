"""Replaces a folder atomically, and removes incomplete folders that a killed program left.

A new folder is filled next to its final place, under a name that only this module uses, and locked
until the process ends. So an unlocked folder with such a name is left over, and can be removed.

Results are often written where other users may write too. If they could rename the new folder, it
is filled through its descriptor (`/proc/PID/fd/N`), so that they cannot direct files elsewhere, and
nothing else is removed there.
"""

import contextlib
import ctypes
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from batchscope.engine.system.files import discard
from batchscope.engine.system.locks import lock
from batchscope.engine.system.private_folders import check_links, is_shared

AT_FDCWD, RENAME_EXCHANGE = -100, 2
NAMED = 40
"""How many characters of the target's name the name of the new folder contains."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
HALF_MADE, ASIDE = "batchscope-export", "batchscope-replaced"


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Create a new folder on the same disk as `target`, and remove it afterwards unless moved.

    Incomplete folders that killed exports to `target` left are removed first. If `target` is a
    link, the folder that it leads to is replaced.

    Raises:
        OSError: the folder cannot be created, or a link of another user leads to its place.
    """
    target = _real(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shared = is_shared(target.parent)
    if not shared:
        _clear(target)
    fresh, held = _held(target)
    try:
        by_descriptor = _opened() / str(held)
        yield by_descriptor if shared and by_descriptor.is_dir() else fresh
    finally:
        _remove(fresh, held)
        os.close(held)


def replace(fresh: Path, target: Path, before: Callable[[Path], None] | None = None) -> None:
    """Move `fresh` to `target`; in one step if the system can exchange folders.

    Args:
        before: called with the old folder, where it is now, before it is removed.
    """
    target = _real(target)
    if fresh.parent == _opened():
        fresh = fresh.readlink()
    if not target.exists():
        fresh.rename(target)
        return
    old = os.open(target, FOLDER)
    try:
        aside = fresh
        if not _exchange(fresh, target):
            place = tempfile.mkdtemp(prefix=_prefix(target, ASIDE), dir=target.parent)
            aside = _moved(target, Path(place))
            fresh.rename(target)
        if before:
            by_descriptor = _opened() / str(old)
            before(by_descriptor if is_shared(target.parent) and by_descriptor.is_dir() else aside)
        _remove(aside, old)
    finally:
        os.close(old)


def _moved(target: Path, place: Path) -> Path:
    """Move a folder to an empty one; the empty one is removed if that is impossible."""
    try:
        return target.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            place.rmdir()
        raise


def _real(target: Path) -> Path:
    """Return the path without links, none of which may be another user's."""
    check_links(target)
    return Path(os.path.realpath(target))


def _opened() -> Path:
    """Return where Linux shows this process's descriptors; other systems have no such folder."""
    return Path("/proc", str(os.getpid()), "fd")


def _prefix(target: Path, kind: str) -> str:
    return f".{target.name[:NAMED]}.{kind}-"


def _held(target: Path) -> tuple[Path, int]:
    """Create a new folder and lock it; retry if another process removed it before the lock."""
    while True:
        fresh = Path(tempfile.mkdtemp(prefix=_prefix(target, HALF_MADE), dir=target.parent))
        try:
            held = os.open(fresh, FOLDER)
        except FileNotFoundError:
            continue
        _lock(held)
        if fresh.exists():
            return fresh, held
        os.close(held)


def _is(folder: Path, descriptor: int) -> bool:
    """Return whether a folder that was opened is still at its path."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), folder.lstat())
    return False


def _remove(folder: Path, held: int) -> None:
    """Remove the folder that was opened, and ignore errors.

    Where others could have put another folder at its path, that one is left alone. Elsewhere none
    can, and some network file systems give a folder another number at every look.
    """
    if not is_shared(folder.parent):
        discard(folder)
        return
    if not _is(folder, held):
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(held):
            if stat.S_ISDIR(os.lstat(name, dir_fd=held).st_mode):
                shutil.rmtree(name, ignore_errors=True, dir_fd=held)
            else:
                os.unlink(name, dir_fd=held)
        folder.rmdir()


def _clear(target: Path) -> None:
    """Remove incomplete folders next to `target` that no process has locked."""
    wanted = re.compile(re.escape(_prefix(target, HALF_MADE)) + "[a-z0-9_]{8}")
    for entry in list(os.scandir(target.parent)):
        if wanted.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                held = os.open(entry.path, FOLDER)
                try:
                    if _lock(held):
                        _remove(Path(entry.path), held)
                finally:
                    os.close(held)


def _lock(descriptor: int) -> bool:
    """Lock a folder as long as the descriptor is open; return False if that is impossible."""
    with contextlib.suppress(OSError):  # network file systems lock only files
        return lock(descriptor)
    return False


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

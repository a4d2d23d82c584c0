"""Small functions for files and folders."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

from batchscope.engine.errors import UsageProblem, printable

NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES})
"""How network file systems refuse to sync a folder."""

NEW_FILE, LONGEST_PREFIX = 0o666, 40


def user_path(text: str) -> Path:
    """Return the absolute path of what a user wrote; `~` is the user's home.

    Raises:
        UsageProblem: it begins with `~name`, but that user does not exist.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageProblem(f"{printable(text)}: no such user") from None


def is_there(path: Path) -> bool:
    """Return whether a path exists; False for one that the system cannot look up."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False for one that the system cannot look up."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a private folder and those above it, in place of a file or a link with its name.

    Raises:
        OSError: it cannot be created.
    """
    if os.path.lexists(folder) and not stat.S_ISDIR(folder.lstat().st_mode):
        folder.unlink()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def create(path: Path) -> IO[bytes]:
    """Create a file for writing in place of whatever has its name, and never through a link.

    Raises:
        OSError: what is there cannot be removed, or the file cannot be created.
    """
    remove(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return open(os.open(path, flags, 0o666), "wb")


def remove_quietly(folder: Path) -> None:
    """Remove a folder, or whatever has its name, as far as possible; links are not followed.

    `shutil.rmtree` would wait for a writer if there is a pipe in the place of the folder.
    """
    with contextlib.suppress(OSError):
        if not folder.is_symlink() and stat.S_ISDIR(folder.lstat().st_mode):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink()


def discard(folder: Path) -> None:
    """Remove a whole folder of this user as far as possible, without following links.

    Unlike `shutil.rmtree`, it also opens folders that are not writable, and goes down where a
    folder's number changes between two looks, as on some network file systems.
    """
    remove_quietly(folder)
    if folder.is_symlink() or not folder.is_dir():
        return
    for inside, _, _ in os.walk(folder):  # each folder is opened up before it is read
        with contextlib.suppress(OSError):
            for each in (Path(inside), *Path(inside).iterdir()):
                if each.is_dir() and not each.is_symlink():
                    each.chmod(stat.S_IRWXU)
    for inside, folders, files in os.walk(folder, topdown=False):
        for each in (Path(inside, name) for name in (*files, *folders)):
            with contextlib.suppress(OSError):
                remove_one = each.rmdir if each.is_dir() and not each.is_symlink() else each.unlink
                remove_one()
    with contextlib.suppress(OSError):
        folder.rmdir()


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, without those that cannot be read."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += folder_bytes(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return total
    return total


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically, with the permissions that the umask gives to a new one.

    The temporary file has a name that nobody can foresee: others may write to the folder, too.

    Raises:
        OSError: it cannot be written; an existing file is not changed.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:LONGEST_PREFIX]}.", dir=path.parent)
    fresh = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            with contextlib.suppress(OSError):  # not every file system stores permissions
                os.fchmod(descriptor, NEW_FILE & ~_umask())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def sync_file(file: IO[bytes]) -> None:
    """Write a file's content through to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Write a folder's list of names through to the disk, where its file system can do so."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be entered and written, but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)

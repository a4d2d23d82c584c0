"""Small things done to files and folders."""

import os
import shutil
from pathlib import Path
from typing import IO

from batchscope.engine.errors import UsageProblem, printable


def user_path(text: str) -> Path:
    """An absolute path from what a person wrote; `~` is their home.

    Raises:
        UsageProblem: it begins with the home of a user who does not exist.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise UsageProblem(f"{printable(text)}: there is no such user") from None


def is_there(path: Path) -> bool:
    """Whether a path names anything; one that the system cannot even look up does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; one that the system cannot even look up does not."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; what cannot be looked at counts nothing."""
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


def sync_file(file: IO[bytes]) -> None:
    """Make what was written to a file durable."""
    file.flush()
    os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Creates folders that other users of the machine can neither read nor write."""

import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(home: Path, *folders: Path) -> None:
    """Create the home if it is missing, and folders in it that only this user can read and write.

    An existing home keeps its mode, because it may have other content. But it must belong to this
    user and not be writable by everyone: a user who can rename its content could replace a sweep.

    Raises:
        OSError: a folder cannot be created, or another user could change its content.
    """
    _make(home)
    _check_owner(home)
    mode = home.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PermissionError("every user of this machine can write to it")
    for folder in folders:
        _make(folder)
        _check_owner(folder)
        if folder.stat().st_mode & OTHERS:
            folder.chmod(stat.S_IRWXU)


def _make(folder: Path) -> None:
    """Create a folder and its missing parents, private for any umask."""
    for each in reversed((folder, *folder.parents)):
        if not each.is_dir():
            each.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def _check_owner(folder: Path) -> None:
    """Raise if a folder belongs to another user.

    Root's folders are accepted, because root can do anything; and root accepts all folders, because
    in a container the folders of volumes may belong to another user.
    """
    owner, me = folder.stat().st_uid, os.geteuid()
    if owner != me and 0 not in (owner, me):
        raise PermissionError(f"{folder.name} belongs to another user")

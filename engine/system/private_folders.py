"""Folders that other users of the machine can neither read nor write."""

import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(home: Path, *folders: Path) -> None:
    """Make a home where it is missing, and folders in it that are closed to everybody else.

    A home that is there keeps its mode: it may be a folder of other things too. But it must be
    ours, and not everybody's to write to, since whoever may rename what lies in it can put another
    folder in the place of a sweep.

    Raises:
        OSError: a folder cannot be made, or somebody else could command what is in it.
    """
    _make(home)
    _check_owner(home)
    mode = home.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PermissionError("every user of this machine may write to it")
    for folder in folders:
        _make(folder)
        _check_owner(folder)
        if folder.stat().st_mode & OTHERS:
            folder.chmod(stat.S_IRWXU)


def _make(folder: Path) -> None:
    """Make a folder and those above it, whatever the umask lets others do."""
    for each in reversed((folder, *folder.parents)):
        if not each.is_dir():
            each.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def _check_owner(folder: Path) -> None:
    """Refuse a folder of another user: but root's, who may do anything, and unless we are root.

    Root in a container sees the folders of its volumes as somebody else's.
    """
    owner, me = folder.stat().st_uid, os.geteuid()
    if owner != me and 0 not in (owner, me):
        raise PermissionError(f"{folder.name} belongs to another user")

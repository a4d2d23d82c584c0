"""Creates folders that no other user of the machine can read or write, and checks the way to them.

Whoever can write to a folder can rename what lies in it, and put a link or a folder of their own in
its place. So what this program writes must be below folders that only this user or root can change:
each folder and link on the way belongs to one of them, and no one else may write to a folder unless
it has the sticky bit, as `/tmp` has. Then no other user has put a link on the way, and a path that
was checked leads to the same folder later.
"""

import errno
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from batchscope.engine.errors import printable

OTHERS = stat.S_IRWXG | stat.S_IRWXO
ENTERED = stat.S_IXGRP | stat.S_IXOTH
MOST_LINKS = 40
SHARED = "BATCHSCOPE_SHARED"
ACL, ACL_HEADER, ACL_ENTRY, ACL_USER, ACL_GROUP, ACL_WRITE = (
    "system.posix_acl_access",
    4,
    8,
    2,
    8,
    2,
)
OVERFLOW, MAPPED = Path("/proc/sys/kernel/overflowuid"), Path("/proc/self/uid_map")


def make_private(home: Path, *folders: Path) -> None:
    """Create the home if it is missing, and folders in it that only this user can read and write.

    An existing home keeps its mode, because it may have other content.

    Raises:
        OSError: a folder cannot be created, or another user could change its content; the message
            names the folder.
    """
    _make(home)
    status = home.stat()
    if writers := _writers(home, status):  # also in a closed folder, which may be opened one day
        raise PermissionError(_advice(home, status, writers))
    for folder in folders:
        if folder.is_dir():
            _close_to_others(folder)
        _make(folder)


def check_unshared(path: Path) -> None:
    """Raise if another user could change where a path leads, or the content of its folder.

    A path that does not exist is checked as far as it does.

    Raises:
        PermissionError: another user could; the message names the folder.
        OSError: a part of the path cannot be looked up.
    """
    _check(list(_way(path)))


def check_closed(folder: Path) -> None:
    """Raise as `check_unshared` does, and if others may add files to a folder, as to `/tmp`.

    For folders whose every file is used, whoever has put it there.

    Raises:
        PermissionError: others may; the message names the folder.
        OSError: a part of the path cannot be looked up.
    """
    _check(list(_way(folder)), adding=True)


def check_links(path: Path) -> None:
    """Raise if a link of another user is on the way to a path, as they may change where it leads.

    For what a person writes into a folder that they share with others, such as an export.

    Raises:
        PermissionError: there is such a link; the message names it.
        OSError: a part of the path cannot be looked up.
    """
    for each, status in _way(path):
        if stat.S_ISLNK(status.st_mode):
            _check_owner(each, status)


def shares() -> bool:
    """Return whether this user trusts everybody who may write where they keep their sweeps.

    Some have no other place: a project folder of a group, or a volume in a container. A link of
    another user is not followed even then.
    """
    return os.environ.get(SHARED, "") not in ("", "0")


def is_shared(path: Path) -> bool:
    """Return whether another user could change where a path leads, or the content of its folder."""
    try:
        check_unshared(path)
    except PermissionError:
        return True
    return False


def _check(steps: list[tuple[Path, os.stat_result]], adding: bool = False) -> None:
    """Check a way; `adding` if nobody else may add files to the folder at its end either."""
    closed = set[Path]()
    for number, (each, status) in enumerate(steps, 1):
        adds = adding and number == len(steps)
        link = stat.S_ISLNK(status.st_mode)
        hidden = shares() or not closed.isdisjoint(each.parents)
        if link or not hidden:  # a folder below a closed one cannot be reached by others
            _check_owner(each, status)
        if not link and not hidden and (writers := _writers(each, status, adds)):
            raise PermissionError(_advice(each, status, writers))
        if not link and not status.st_mode & ENTERED:
            closed.add(each)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not _trusted(status.st_uid):
        link = "is a link that " if stat.S_ISLNK(status.st_mode) else ""
        whose = f"belongs to another user ({_name(status.st_uid)})"
        raise PermissionError(f"{printable(path)} {link}{whose}")


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the folders and links through which a path leads, from the root, as far as they exist.

    Raises:
        OSError: there are too many links, or a part cannot be looked up.
    """
    path = path.absolute()
    root = at = Path(path.anchor)
    yield root, root.lstat()
    left, links = list(reversed(path.parts[1:])), 0
    while left:
        name = left.pop()
        if name == os.pardir:  # `at` has no links, so this is its real parent
            at = at.parent
            continue
        each = at / name
        try:
            status = each.lstat()
        except FileNotFoundError:
            return
        yield each, status
        if not stat.S_ISLNK(status.st_mode):
            at = each
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        to = each.readlink()
        if to.is_absolute():
            at = root
        left.extend(reversed(to.parts[to.is_absolute() :]))


def _make(folder: Path) -> None:
    """Create a folder and its missing parents, private for any umask."""
    check_unshared(folder)
    missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
    for each in reversed(missing):
        each.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    if missing:  # not every file system stores the mode
        check_unshared(folder)


def _close_to_others(folder: Path) -> None:
    """Take the permissions of other users from a folder, as far as its file system stores them."""
    *above, (last, status) = _way(folder)
    _check(above)
    if not shares():
        _check_owner(last, status)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and status.st_mode & OTHERS:
            try:
                os.fchmod(descriptor, stat.S_IRWXU)
            except OSError as error:  # FAT, CIFS: the modes are those of the mount
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise
    finally:
        os.close(descriptor)


def _trusted(owner: int) -> bool:
    """Return whether a user can be trusted with the way to a folder: this one and root.

    Root can do anything anyway. Root itself trusts no one else, because it would write wherever
    they point it. In a user namespace all owners without a number there, root too, look the same.
    """
    return owner in (0, os.geteuid()) or owner == _unmapped()


def _unmapped() -> int | None:
    """Return the number of owners that this process's user namespace does not know, or None."""
    try:
        if MAPPED.read_text().split() == ["0", "0", "4294967295"]:
            return None
        return int(OVERFLOW.read_text())
    except (OSError, ValueError):  # not Linux
        return None


def _writers(folder: Path, status: os.stat_result, adding: bool = False) -> str:
    """Return which other users may rename what is in a folder, or add to it; empty if none may."""
    if status.st_mode & stat.S_ISVTX and not adding:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "every user of this machine"
    if status.st_mode & stat.S_IWGRP:  # with an access list, this is the most that any entry gives
        if not _alone(status.st_gid, status.st_uid):
            return f"the group {_group_name(status.st_gid)}"
        if _listed(folder):
            return "users in its access list (getfacl)"
    return ""


def _alone(group: int, owner: int) -> bool:
    """Return whether a group is its owner's own, as many systems give every user one."""
    try:
        entry, name = grp.getgrgid(group), pwd.getpwuid(owner).pw_name
    except KeyError:
        return False
    return entry.gr_name == name and set(entry.gr_mem) <= {name}


def _listed(folder: Path) -> bool:
    """Return whether an access list lets named users or groups write to a folder."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        entries = os.getxattr(folder, ACL)[ACL_HEADER:]
    except OSError:  # there is none, or the file system has no such lists
        return False
    for start in range(0, len(entries), ACL_ENTRY):
        tag, permissions = entries[start], entries[start + 2]
        number = int.from_bytes(entries[start + 4 : start + 8], "little")
        if permissions & ACL_WRITE:
            if tag == ACL_USER and number not in (0, os.geteuid()):
                return True
            if tag == ACL_GROUP and number != 0:
                return True
    return False


def _advice(folder: Path, status: os.stat_result, writers: str) -> str:
    problem = f"{writers} can write to {printable(folder)}"
    if status.st_uid != os.geteuid():
        return problem
    return f"{problem} (`chmod go-w {printable(shlex.quote(str(folder)))}` ends that)"


def _name(user: int) -> str:
    try:
        return printable(pwd.getpwuid(user).pw_name)
    except KeyError:
        return str(user)


def _group_name(group: int) -> str:
    try:
        return printable(grp.getgrgid(group).gr_name)
    except KeyError:
        return str(group)

"""Opens the files that this program writes in its own folders, and tries what a file system can.

The folder of a sweep is private, but its content may have been copied, unpacked or changed by
anyone. A link there must not lead a writer to another file, and a pipe must not hold it up.
"""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path

from batchscope.engine.errors import MachineProblem, printable

HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
"""What a lock fails with that somebody else holds; on SMB it is EACCES."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def open_own(path: Path, flags: int) -> int:
    """Open a private regular file for writing, and return its descriptor.

    Args:
        path: the file; the last part of the path is no link.
        flags: as for `os.open`; with `O_CREAT` it is created for this user alone.

    Raises:
        OSError: it cannot be opened, or is a link, a device, a pipe, or another user's file;
            `strerror` says which.
    """
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags | careful, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise OSError(errno.ELOOP, "is a link", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "is not a regular file", str(path)) from None
        raise
    status = os.fstat(descriptor)
    if problem := _problem(status):
        os.close(descriptor)
        raise OSError(errno.EINVAL, problem, str(path))
    return descriptor


def _problem(status: os.stat_result) -> str:
    """Return what is wrong with an opened file; a second name may be a foreign file's."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink > 1 and status.st_uid != os.geteuid():
        return "is another user's file under a second name (a hard link)"
    return ""


def lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file until all its descriptors are closed; return False if another holds it.

    Args:
        descriptor: of the file; a child process that inherits it holds the lock too.
        kind: `fcntl.LOCK_EX` to be alone, `fcntl.LOCK_SH` beside other readers.

    Raises:
        OSError: the file system has no such locks.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def check_locks(folder: Path) -> None:
    """Try whether files in a folder can be locked: then one conductor alone writes a sweep.

    A lock must also stop another descriptor of the same process. One that does not belongs to a
    process, not to an open file, and would not pass on from a conductor to its workers.

    Raises:
        MachineProblem: they cannot.
    """
    try:
        working = _locks_work(folder)
    except OSError as error:
        if error.errno in FULL:  # the disk says nothing about locks; what is written later fails
            return
        problem = f"its file system cannot lock files (flock): {error.strerror or error}"
    else:
        if working:
            return
        problem = "its file system does not keep locks of files (flock) apart"
    raise MachineProblem(
        f"{printable(folder)}: sweeps cannot run here, because {problem}; "
        "choose a folder on another disk with --home or $BATCHSCOPE_HOME"
    )


def _locks_work(folder: Path) -> bool:
    one, name = tempfile.mkstemp(prefix=".locks-", dir=folder)
    two = -1
    try:
        two = os.open(name, os.O_RDWR | os.O_CLOEXEC)
        return lock(one) and not lock(two)
    finally:
        for descriptor in (one, two):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(name)

"""Locks files of this program, and tries whether a file system can do so at all.

Network file systems differ: some have no locks, some have locks that belong to a process and not to
an open file, so that a child does not inherit them, and some answer as if access were denied.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path

from batchscope.engine.errors import MachineProblem, printable

HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
"""How a lock fails that somebody else holds; on SMB it is EACCES."""
MISSING = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a lock fails where the file system has none."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


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
            Path(name).unlink()

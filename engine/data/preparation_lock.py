"""Lets one process at a time prepare a data set, and tells the others which one that is."""

import contextlib
import errno
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.system import locks

POLL_SECONDS = 0.1
_MOST = 256


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock in this context; the system releases it if the process dies.

    Args:
        path: the lock file; it names the process that holds the lock.
        waiting: called with the name of the process that is waited for, again and again.

    Raises:
        OSError: it cannot be locked, or is not a regular file.
    """
    # without waiting for the reader of a pipe that somebody put there
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(path, flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        while not _taken(lock, path):
            waiting(_holder(lock))
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(OSError):  # the disk may be full, and the name only helps people
            _write(lock, f"{os.getpid()} {socket.gethostname()}".encode())
        yield
        with contextlib.suppress(OSError):
            _write(lock, b"")
    finally:
        os.close(lock)


def _taken(lock: int, path: Path) -> bool:
    """Take the lock; return False if another process holds it."""
    try:
        return locks.lock(lock)
    except OSError as error:
        raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from None


def _write(lock: int, holder: bytes) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, holder, 0)


def _holder(lock: int) -> str:
    """Return the name of the process that holds the lock, and whether it is stopped."""
    try:
        pid, _, host = os.pread(lock, _MOST, 0).decode("utf-8", "replace").partition(" ")
    except OSError:  # on SMB a file that another process has locked cannot be read
        return "another process"
    if not pid.isdecimal() or len(pid) > len(str(1 << 31)):
        return "another process"
    if host != socket.gethostname():
        return f"process {pid} on {printable(host)}" if host else f"process {pid}"
    return f"process {pid}, which is stopped" if _is_stopped(int(pid)) else f"process {pid}"


def _is_stopped(pid: int) -> bool:
    import psutil  # only while somebody waits

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except (psutil.Error, ValueError, OverflowError):
        return False

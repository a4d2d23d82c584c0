"""Ends a child process with its parent: a worker with its conductor, even if it is frozen."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def ended_with_parent() -> Callable[[], None] | None:
    """Return a function for `preexec_fn` with which a child is killed when this process ends.

    A worker also ends when its stdin does, but a frozen one does not read stdin, and would hold the
    sweep's lock until it continues. Only Linux can do this; it returns None on other systems.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call above
            os._exit(1)

    return bind


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends, and end it if the parent has ended already.

    For a child of a process with several threads, in which a `preexec_fn` may hang.

    Args:
        parent: process id of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

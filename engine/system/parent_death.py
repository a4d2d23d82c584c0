"""A child never outlives its parent: a worker its conductor, not even one that is frozen."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def ended_with_parent() -> Callable[[], None] | None:
    """What a child calls before its program begins, to be killed once this process is gone.

    The end of stdin tells a worker as much, but one that is frozen does not read, and would hold
    the sweep's lock until it wakes. Only Linux can do this; elsewhere the end of stdin has to do.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be told
            os._exit(1)

    return bind


def end_with(parent: int) -> None:
    """Be killed once the parent is gone; for a child that a process of several threads started.

    What is to run between fork and program may hang there, so such a child says this itself. It
    ends at once where its parent is no longer the process of that id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

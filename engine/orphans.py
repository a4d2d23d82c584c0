"""A worker never outlives its conductor, not even one that is frozen."""

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

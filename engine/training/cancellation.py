"""Passes the conductor's orders to stop or to pause to a training, between two steps."""

import threading
import time
from collections.abc import Callable

IsHalted = Callable[[], bool]


class Halted(Exception):
    """The conductor has ordered the worker to stop its present work."""


def raise_if(halted: IsHalted) -> None:
    """Raise `Halted` if the work must stop.

    Raises:
        Halted: `halted` returned True.
    """
    if halted():
        raise Halted


def never() -> bool:
    """Return False: the work is never halted."""
    return False


class Dropped(Exception):
    """One replicate must stop while it is probed; the others continue."""


class PauseGate:
    """Holds a training while it is paused.

    The thread that reads orders calls `begin` and `lift`; the thread that trains calls `wait`.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Seconds spent waiting so far."""
        self._lifted = threading.Event()
        self._lifted.set()

    @property
    def requested(self) -> bool:
        """Whether the training must pause."""
        return not self._lifted.is_set()

    def begin(self) -> None:
        """Begin a pause."""
        self._lifted.clear()

    def lift(self) -> None:
        """End the pause."""
        self._lifted.set()

    def wait(self) -> None:
        """Wait until the pause ends; return at once if there is none."""
        if self.requested:
            began = time.perf_counter()
            self._lifted.wait()
            self.seconds += time.perf_counter() - began

"""The end of work and a pause between two steps, as the conductor asks for them."""

import threading
import time
from collections.abc import Callable

Asked = Callable[[], bool]


class Halted(Exception):
    """The conductor asked for the end of what a worker does."""


def raise_if(asked: Asked) -> None:
    """Give the work up where the conductor has asked for it.

    Raises:
        Halted: it has.
    """
    if asked():
        raise Halted


def never() -> bool:
    """Nobody asks."""
    return False


class Dropped(Exception):
    """A member is to end while it is probed; the others go on."""


class PauseGate:
    """Set and lifted by the thread that takes orders, waited for by the one that trains."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Seconds spent waiting so far."""
        self._lifted = threading.Event()
        self._lifted.set()

    @property
    def asked(self) -> bool:
        """Whether the training is to hold still."""
        return not self._lifted.is_set()

    def begin(self) -> None:
        """Ask for it."""
        self._lifted.clear()

    def lift(self) -> None:
        """Let the training go on."""
        self._lifted.set()

    def wait(self) -> None:
        """Hold still until it is lifted."""
        if self.asked:
            began = time.perf_counter()
            self._lifted.wait()
            self.seconds += time.perf_counter() - began

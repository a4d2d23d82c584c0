"""A pause that the conductor asked for, between two steps of a training."""

import threading
import time


class Pause:
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

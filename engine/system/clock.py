"""A clock that starts at the system time and then ignores changes of the system clock."""

import time


class SteadyClock:
    """Unix time in seconds, read once at the start and then counted by a monotonic clock.

    It starts no earlier than `least`, so that its times are later than those of a previous clock.
    """

    def __init__(self, least: float = 0.0) -> None:
        self._ahead = max(time.time(), least) - time.monotonic()

    def __call__(self) -> float:
        """Return the present time."""
        return self._ahead + time.monotonic()

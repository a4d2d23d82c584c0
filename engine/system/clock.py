"""A clock that starts at the time of day and then only counts: nobody's setting it moves it."""

import time


class SteadyClock:
    """Seconds since 1970 as they were known at the start, and what has passed since.

    It starts no earlier than `least`, so that what it stamps comes after what was stamped before.
    """

    def __init__(self, least: float = 0.0) -> None:
        self._ahead = max(time.time(), least) - time.monotonic()

    def __call__(self) -> float:
        """The time now."""
        return self._ahead + time.monotonic()

"""How often a trial or a place is tried again after a worker died over it."""

from collections import defaultdict

RETRIES = 3
FIRST_WAIT_SECONDS = 0.5


class Deaths:
    """Counts deaths at the same point: one that got further than the last counts from the start."""

    def __init__(self) -> None:
        self._deaths: dict[str, tuple[int, int]] = defaultdict(lambda: (0, -1))

    def forget(self, name: str) -> None:
        """Count from the start again: it went well."""
        self._deaths.pop(name, None)

    def another(self, name: str, steps: int) -> float | None:
        """Seconds to wait before the next try after a death, or None if there is to be none.

        `steps` are those of the newest checkpoint at this moment.
        """
        count, before = self._deaths[name]
        count = 1 if steps > before else count + 1
        self._deaths[name] = count, steps
        return FIRST_WAIT_SECONDS * 2 ** (count - 1) if count <= RETRIES else None

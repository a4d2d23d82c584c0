"""When a training holds still to be probed."""

import math
from collections.abc import Callable, Iterable

ROUNDING = 1e-6  # 0.1 of 30 steps is 3, not 4


class Moments:
    """The shares of a budget that are still to come, smallest first, in `left`.

    The budget is `total_steps`, or `seconds` of training where that is what is given. Where steps
    are of several batch sizes, `steps_at` says after how many of them a share is used.
    """

    def __init__(
        self,
        shares: Iterable[float],
        total_steps: int | None,
        seconds: float | None,
        steps_at: Callable[[float], int] | None = None,
    ) -> None:
        self.left = sorted(set(shares))
        self._seconds = seconds
        self._due: dict[float, int] | None = None
        if total_steps is not None:
            at = steps_at or (lambda share: math.ceil(share * total_steps - ROUNDING))
            self._due = {share: at(share) for share in self.left}

    def reached(self, steps: int, seconds: float) -> float | None:
        """Take the next share if `steps` (or `seconds`) of training have reached it."""
        if not self.left:
            return None
        share = self.left[0]
        if self._due is not None:
            come = steps >= self._due[share]
        else:
            come = seconds >= share * (self._seconds or 0.0)
        return self.left.pop(0) if come else None

    @property
    def last(self) -> float | None:
        """The end of the budget, if it is still to come."""
        return 1.0 if self.left[-1:] == [1.0] else None

    def put_back(self, share: float) -> None:
        """Have a share that was taken still to come: its probe was broken off."""
        self.left.insert(0, share)

    def take(self, share: float) -> None:
        """A share that was put back has come."""
        self.left.remove(share)

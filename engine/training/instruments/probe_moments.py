"""The moments at which a training is interrupted for a probe."""

import math
from collections.abc import Callable, Iterable

ROUNDING = 1e-6  # 0.1 of 30 steps is 3, not 4


class Moments:
    """The moments of probes that a training has not reached yet, as shares of its budget.

    Args:
        shares: the shares, from 0 to 1.
        total_steps: steps of the budget; None for a budget in seconds.
        seconds: seconds of the budget; None for a budget in steps.
        steps_at: returns after how many steps a share of the budget is used, for trainings with
            a changing batch size; by default the share of `total_steps`.

    Attributes:
        left: the shares that are still to come, smallest first.
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
        """Remove and return the next share if `steps` or `seconds` have reached it, else None."""
        if not self.left:
            return None
        share = self.left[0]
        if self._due is not None:
            is_due = steps >= self._due[share]
        else:
            is_due = seconds >= share * (self._seconds or 0.0)
        return self.left.pop(0) if is_due else None

    @property
    def last(self) -> float | None:
        """Return 1.0 if only a probe at the end of the budget is still to come, else None."""
        return 1.0 if self.left[-1:] == [1.0] else None

    def put_back(self, share: float) -> None:
        """Insert again a share that `reached` removed, until its probe is complete."""
        self.left.insert(0, share)

    def take(self, share: float) -> None:
        """Remove a share that was put back."""
        self.left.remove(share)

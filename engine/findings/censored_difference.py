"""A difference of means where some seeds missed their target, so that only a bound is known.

A missed target counts as the budget that was used in vain. This understates the mean, which is on
the safe side where a larger value is claimed, and `decisions.held_back` withholds the opposite. But
bounds that are equal also understate the spread: with three seeds and a third of all targets
missed, a t test would find such values above their own true mean in 8 % of cases instead of 2.5 %.
So the order must show the difference too: by an exact rank-sum test between two sides, and by a
sign test against a number.
"""

import math
from dataclasses import dataclass

from batchscope.engine.analysis import statistics
from batchscope.engine.analysis.rank_tests import rank_sum_p, sign_p
from batchscope.engine.analysis.statistics import LEVEL, Estimate

LEAST_CENSORED = 5
"""The least number of seeds on each side. With four that are all larger, a side with much more
spread than the other would be found larger than its own mean in 5 % of cases."""


@dataclass(frozen=True, slots=True)
class CensoredDifference:
    """A difference of means, judged by Student's or Welch's t and by the order of the values.

    Args:
        estimate: the difference, with bounds in the place of the values that are not known.
        left, right: the values and bounds of the sides.
        value: the number that left is compared with if there is no right side.
        open_left, open_right: whether some values of the side are only bounds.
    """

    estimate: Estimate
    left: tuple[float, ...]
    right: tuple[float, ...] = ()
    value: float = 0.0
    open_left: bool = False
    open_right: bool = False

    @property
    def effect(self) -> float:
        """The difference."""
        return self.estimate.effect

    @property
    def n(self) -> int:
        """The number of pairs, or of seeds of the smaller side."""
        return self.estimate.n

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval of coverage 1 − `level` by Student's or Welch's t.

        A mean above that of its bounds may be any, so the end on that side is infinite.
        """
        low, high = statistics.interval(self.estimate, level)
        return -math.inf if self.open_right else low, math.inf if self.open_left else high

    def p_value(self) -> float | None:
        """Return the greater of the two-sided p values of no difference; None if it is zero."""
        p = statistics.p_value(self.estimate)
        return None if p is None else max(p, self._order_p(0.0))

    def doubt(self) -> str:
        """Return in words what makes the p value greater than that of the t test."""
        few = min(len(side) for side in (self.left, self.right or self.left)) < LEAST_CENSORED
        return (
            f"with a missed target and fewer than {LEAST_CENSORED} seeds"
            if few
            else "by the order of the values, since some targets were missed"
        )

    def equality_p(self, within: float) -> float:
        """Return the p value of a difference of `within` or more, by two one-sided t tests."""
        return statistics.equality_p(self.estimate, within)

    def beyond_p(self, within: float) -> float:
        """Return the greater of the two-sided p values of a difference of at most `within`."""
        return max(statistics.beyond_p(self.estimate, within), self._order_p(within))

    def below_p(self, margin: float = 0.0) -> float:
        """Return the greater of the one-sided p values of a difference of −`margin` or less."""
        alone = statistics.below_p(self.estimate, margin)
        return max(alone, self._one_sided(1, -margin))

    def _order_p(self, within: float) -> float:
        """Return the two-sided p value by order of a difference of at most `within`."""
        sign = 1 if self.effect > 0 else -1
        return min(1.0, 2 * self._one_sided(sign, sign * within))

    def _one_sided(self, sign: int, shift: float) -> float:
        """Return the p value by order of a difference that is not beyond `shift` on that side."""
        if min(len(side) for side in (self.left, self.right or self.left)) < LEAST_CENSORED:
            return 1.0
        left = [sign * (value - shift) for value in self.left]
        if not self.right:
            return sign_p(left, sign * self.value)
        return rank_sum_p(left, [sign * value for value in self.right])

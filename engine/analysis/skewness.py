"""A mean, or a difference of means, with tests that allow for skewed values, such as losses.

If values have a long tail on one side, Student's t of their mean has one on the other: five
log-normal values with a relative spread of 0.3 fall significantly short of their own true mean in
5 % of cases instead of 2.5 %. By the Cornish–Fisher expansion the quantile z of the studentized
mean moves by κ (2 z² + 1)/6 (Johnson 1978), where κ is the skewness of the mean: that of the values
÷ √n. At z = 1.96 this is a share of 0.74 κ of the quantile. So the half of the interval on the side
of the tail is widened by a share of 2.5 · 0.74 |κ|. The factor 2.5 is chosen by simulation
(`docs/verdicts.md`): κ is estimated from the values, and few of them show less skewness than they
have. The interval is never narrower than Student's.

This costs power with three to five values. With strongly skewed values it does not suffice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.analysis import statistics
from batchscope.engine.analysis.statistics import LEVEL, Estimate

FEWEST = 3
"""Two values have no skewness."""
WIDER = 1.85
"""Share by which a half of the interval is widened, for each unit of the skewness of the mean."""


@dataclass(frozen=True, slots=True)
class SkewedMean:
    """A mean, a mean − a number or a difference of means, with the skewness κ of this estimate."""

    estimate: Estimate
    skewness: float

    @property
    def effect(self) -> float:
        """The estimate."""
        return self.estimate.effect

    @property
    def n(self) -> int:
        """The number of values, or of those of the smaller group."""
        return self.estimate.n

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval of coverage 1 − `level`."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.estimate.df, 1 - level / 2)) * self.estimate.error
        return self.effect - half * self._widened(1), self.effect + half * self._widened(-1)

    def p_value(self) -> float | None:
        """Return the two-sided p value of no difference; None if it is exactly zero.

        Where Student's is not below the level already, it is returned as it is.
        """
        plain = statistics.p_value(self.estimate)
        return plain if plain is None or plain >= LEVEL else self.beyond_p(0.0)

    def doubt(self) -> str:
        """Return in words what makes the p value greater than that of the t test."""
        return "with regard to the skewness of the values"

    def equality_p(self, within: float) -> float:
        """Return the p value of a difference of `within` or more, by two one-sided tests."""
        return max(self.above_p(-within), self.lower_p(within))

    def beyond_p(self, within: float) -> float:
        """Return the two-sided p value of a difference of at most `within`."""
        return min(1.0, 2 * min(self.above_p(within), self.lower_p(-within)))

    def below_p(self, margin: float = 0.0) -> float:
        """Return the one-sided p value of a difference of −`margin` or less."""
        return self.above_p(-margin)

    def above_p(self, number: float) -> float:
        """Return the one-sided p value of a difference of `number` or less."""
        return self._tail(self.effect - number, 1)

    def lower_p(self, number: float) -> float:
        """Return the one-sided p value of a difference of `number` or more."""
        return self._tail(number - self.effect, -1)

    def _tail(self, away: float, sign: int) -> float:
        from scipy.special import stdtr

        if self.estimate.error == 0:
            return 0.0 if away > 0 else 1.0
        wide = self._widened(sign) if away > 0 else 1.0
        return float(stdtr(self.estimate.df, -away / self.estimate.error / wide))

    def _widened(self, sign: int) -> float:
        """Return by which factor the interval is wider below (1) or above (−1) the estimate.

        A tail to the left lets a mean appear too large, so it widens the lower half.
        """
        return 1 + WIDER * max(0.0, -sign * self.skewness)


def skewness(estimate: Estimate, *groups: Sequence[float]) -> float:
    """Return the skewness of a mean, or of the mean of one group − that of another.

    The third central moment of a mean is that of its values ÷ n², and the moments of independent
    groups add up. A group of two has none.

    Args:
        estimate: the mean or the difference; its error may include the rounding of the values.
        groups: the values, or those of both groups.
    """
    if not 0 < estimate.error < math.inf:
        return 0.0
    third = 0.0
    for sign, values in zip((1, -1), groups, strict=False):
        n = len(values)
        if n >= FEWEST:
            mean = math.fsum(values) / n
            cubes = math.fsum(((value - mean) / estimate.error) ** 3 for value in values)
            third += sign * cubes / (n * (n - 1) * (n - 2))
    return third

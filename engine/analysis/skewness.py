"""A mean with tests that allow for skewed values, such as losses.

If a value has a long tail on one side, Student's t distribution of the mean has one on the other:
of log-normal values with a relative spread of 0.3, five fall significantly short of their own true
mean in 5 % of cases instead of 2.5 %. Hall's transformation (Hall 1992) removes the first effect of
the skewness b, which is estimated from the values:

    g(t) = t + b t²/(3 √n) + b² t³/(27 n) + b/(6 √n)

It rises with t, so it can be inverted to an interval. Here it only adds to Student's interval: what
the values show must hold with and without it. This costs power with three to five values, because
their skewness is hardly known. With strongly skewed values it does not suffice
(`docs/verdicts.md`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.analysis.statistics import LEVEL, Estimate

FEWEST = 3
"""Two values have no skewness."""
NONE = 1e-9
"""Skewness below this is none."""


@dataclass(frozen=True, slots=True)
class SkewedMean:
    """The mean of values − a number, with the skewness of the values."""

    estimate: Estimate
    skewness: float

    @property
    def effect(self) -> float:
        """The mean − the number."""
        return self.estimate.effect

    @property
    def n(self) -> int:
        """The number of values."""
        return self.estimate.n

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the hull of Student's and Hall's intervals of coverage 1 − `level`."""
        from scipy.special import stdtrit

        t, mean, error = float(stdtrit(self._df, 1 - level / 2)), self.effect, self.estimate.error
        ends = [mean - each * error for each in (t, -t, self._inverse(t), self._inverse(-t))]
        return min(ends), max(ends)

    def p_value(self) -> float | None:
        """Return the two-sided p value of no difference; None if it is exactly zero."""
        if self.estimate.error == 0 and self.effect == 0:
            return None
        return self.beyond_p(0.0)

    def equality_p(self, within: float) -> float:
        """Return the p value of a difference of `within` or more, by two one-sided tests."""
        return max(self._above_p(-within), self._below_p(within))

    def beyond_p(self, within: float) -> float:
        """Return the two-sided p value of a difference of at most `within`."""
        return min(1.0, 2 * min(self._above_p(within), self._below_p(-within)))

    def below_p(self, margin: float = 0.0) -> float:
        """Return the one-sided p value of a difference of −`margin` or less."""
        return self._above_p(-margin)

    @property
    def _df(self) -> float:
        return self.estimate.df

    def _above_p(self, number: float) -> float:
        """Return the one-sided p value of a difference of `number` or less."""
        return self._tail(number, 1)

    def _below_p(self, number: float) -> float:
        """Return the one-sided p value of a difference of `number` or more."""
        return self._tail(number, -1)

    def _tail(self, number: float, sign: int) -> float:
        from scipy.special import stdtr

        away = self.effect - number
        if self.estimate.error == 0:
            return 0.0 if away * sign > 0 else 1.0
        t = away / self.estimate.error
        return float(stdtr(self._df, -min(sign * t, sign * self._transformed(t))))

    def _transformed(self, t: float) -> float:
        b, root = self.skewness, math.sqrt(self.n)
        return t + b * t**2 / (3 * root) + b**2 * t**3 / (27 * self.n) + b / (6 * root)

    def _inverse(self, t: float) -> float:
        """Return the value of Student's t that the transformation maps to `t`."""
        b, root = self.skewness, math.sqrt(self.n)
        if abs(b) < NONE:
            return t
        return 3 * root / b * (math.cbrt(1 + b * (t - b / (6 * root)) / root) - 1)


def skewed_mean(values: Sequence[float], estimate: Estimate) -> SkewedMean:
    """Return an estimate with the skewness of its values: their third moment ÷ variance^(3/2).

    Args:
        values: the values, whether or not the number is subtracted.
        estimate: the mean of these − a number; its variance may be that of their rounding.
    """
    n = len(values)
    variance = n * estimate.error**2
    if n < FEWEST or variance**1.5 == 0:
        return SkewedMean(estimate, 0.0)
    mean = math.fsum(values) / n
    third = math.fsum((value - mean) ** 3 for value in values) * n / ((n - 1) * (n - 2))
    return SkewedMean(estimate, third / variance**1.5)

"""A mean, or a difference of means, with tests that allow for skewed values, such as losses.

If values have a long tail on one side, Student's t of their mean has one on the other: five
log-normal values with a relative spread of 0.3 fall significantly short of their own true mean in
5 % of cases instead of 2.5 %. Hall's transformation (Hall 1992) removes the first effect of the
skewness κ of the mean, which is that of the values ÷ √n and is estimated from them:

    g(t) = t + κ t²/3 + κ² t³/27 + κ/6

It rises with t, so it can be inverted to an interval. Here it only adds to Student's interval: what
the values show must hold with and without it. This costs power with three to five values, because
their skewness is hardly known. With strongly skewed values it does not suffice
(`docs/verdicts.md`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.analysis import statistics
from batchscope.engine.analysis.statistics import LEVEL, Estimate

FEWEST = 3
"""Two values have no skewness."""
CLEAR = 1.0
"""Standard errors that normal values exceed in a third of all cases.

With 1.6, differences of log-normal values with spreads of 0.2 and 0.05 are found below their own
mean in 3.7 % of cases instead of 3.3 %. With 0 it is 2.8 %, but an effect of 1.8 standard
deviations is found by five seeds in 63 % of cases instead of 71 %."""
SHRUNK = 1.5
"""Few values show less skewness than they have: with 1, log-normal values with a spread of 0.3 fall
short of their own mean in up to 3.5 % of cases, with 1.5 in up to 3.3 %."""
NONE = 1e-9
"""Skewness below this is none."""


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
        """Return the hull of Student's and Hall's intervals of coverage 1 − `level`."""
        from scipy.special import stdtrit

        t, mean, error = float(stdtrit(self._df, 1 - level / 2)), self.effect, self.estimate.error
        ends = [mean - each * error for each in (t, -t, self._inverse(t), self._inverse(-t))]
        return min(ends), max(ends)

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

    @property
    def _df(self) -> float:
        return self.estimate.df

    def above_p(self, number: float) -> float:
        """Return the one-sided p value of a difference of `number` or less."""
        return self._tail(number, 1)

    def lower_p(self, number: float) -> float:
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
        k = self.skewness
        return t + k * t**2 / 3 + k**2 * t**3 / 27 + k / 6

    def _inverse(self, t: float) -> float:
        """Return the value of Student's t that the transformation maps to `t`."""
        k = self.skewness
        if abs(k) < NONE:
            return t
        return 3 / k * (math.cbrt(1 + k * (t - k / 6)) - 1)


@dataclass(frozen=True, slots=True)
class Skewness:
    """The skewness of an estimate × 1.5, and its standard error if the values are normal."""

    value: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is more than normal values show in two of three cases."""
        return abs(self.value) > CLEAR * self.error


def skewness(estimate: Estimate, *groups: Sequence[float]) -> Skewness:
    """Return the skewness of a mean, or of the mean of one group − that of another.

    The third central moment of a mean is that of its values ÷ n²; the moments of independent groups
    add up. The sample skewness of n normal values has the variance
    6 n (n − 1) / ((n − 2)(n + 1)(n + 3)). A group of two has no skewness.

    Args:
        estimate: the mean or the difference; its error may include the rounding of the values.
        groups: the values, or those of both groups.
    """
    third = variance = 0.0
    for sign, values in zip((1, -1), groups, strict=False):
        n = len(values)
        if n < FEWEST:
            continue
        mean = math.fsum(values) / n
        second = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
        cube = math.fsum((value - mean) ** 3 for value in values) * n / ((n - 1) * (n - 2))
        third += sign * cube / n**2
        variance += second**3 / n**4 * 6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))
    scale = estimate.error**3
    if scale == 0:
        return Skewness(0.0, 0.0)
    return Skewness(SHRUNK * third / scale, SHRUNK * math.sqrt(variance) / scale)

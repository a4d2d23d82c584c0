"""Differences of ratios of means, such as noise scales, with Fieller's intervals over the seeds.

A noise scale is tr(Σ)/|G|². The ratio of a single seed has no use: its estimate of |G|² may be zero
or negative, most likely where the noise is largest, so a mean over the seeds with a positive one
would be too small. Each seed gives a pair (x, y) instead, and the ratio of the means is judged:
mean(x)/mean(y) > r if a t test finds the mean of x − r y above 0 (Fieller 1954). No pair is left
out, and the interval is unbounded above where the seeds cannot distinguish the mean of y from 0.
A single ratio beside a number is judged with regard to the skewness of x − r y as well: signals
have a long tail, so that a t test alone finds too many ratios above a number.

Several ratios are combined by Bonferroni's inequality: each has its interval at a share of the
level, so all hold together whether or not they share seeds. This is wider than necessary, and so
judges too little rather than too much.

`scipy.special` is loaded when the first limit is computed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from batchscope.engine.analysis.skewness import SkewedMean, skewness
from batchscope.engine.analysis.statistics import LEVEL, Estimate, of_mean

Pairs = Sequence[tuple[float, float]]
SMALLEST, HALVINGS = 1e-12, 45
"""The least p value that is computed, and how often its bracket is halved."""
ROUNDING = 1e-9
"""Relative rounding of a p value at a limit that was computed for it."""


@dataclass(frozen=True)
class Quotient:
    """A ratio of means, or (with `base`) the ratio of two such ratios: pairs of each seed."""

    pairs: Pairs
    base: Pairs | None = None

    @property
    def n(self) -> int:
        """The number of seeds."""
        return len(self.pairs)

    @property
    def value(self) -> float | None:
        """The ratio; None if a denominator is not positive."""
        top = _ratio(self.pairs)
        if self.base is None or top is None:
            return top
        bottom = _ratio(self.base)
        return top / bottom if bottom else None

    def limits(self, level: float) -> tuple[float, float]:
        """Return the interval of coverage 1 − `level`, from 0 to infinity where it is unbounded."""
        own, base = self._moments
        if base is None:
            return own.limits(level)
        (low, high), (least, most) = (each.limits(level / 2) for each in (own, base))
        unbounded = math.isinf(high) or least == 0
        return _over(low, most), math.inf if unbounded else high / least

    @cached_property
    def _moments(self) -> "tuple[_Moments, _Moments | None]":
        return _Moments.of(self.pairs), _Moments.of(self.base) if self.base is not None else None


@dataclass(frozen=True, slots=True)
class RatioDifference:
    """The mean of some quotients − the mean of others, or − a number."""

    left: tuple[Quotient, ...]
    right: tuple[Quotient, ...] = ()
    value: float = 0.0

    @property
    def n(self) -> int:
        """The number of seeds of the quotient that has the fewest."""
        return min(each.n for each in (*self.left, *self.right))

    @property
    def effect(self) -> float | None:
        """The difference; None if a ratio has no value."""
        left, right = _mean(self.left), _mean(self.right) if self.right else self.value
        return None if left is None or right is None else left - right

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval of coverage 1 − `level`; its ends may be infinite."""
        if self._alone is not None:
            low, high = skewed_limits(self._alone, level)
            return low - self.value, high - self.value
        share = level / 2 if self.right else level
        low, high = _mean_limits(self.left, share)
        least, most = _mean_limits(self.right, share) if self.right else (self.value, self.value)
        bottom = -math.inf if math.isinf(most) else low - most
        return bottom, math.inf if math.isinf(high) else high - least

    def p_value(self) -> float:
        """Return the two-sided p value of no difference: the level whose interval ends at 0."""
        if self._alone is not None:
            return self.beyond_p(0.0)
        return self._first(lambda low, high: low > 0 or high < 0)

    def equality_p(self, within: float) -> float:
        """Return the p value of a difference of `within` or more, by two one-sided tests."""
        if self._alone is not None:
            above, below = self.value - within, self.value + within
            return max(_above_p(self._alone, above), _below_p(self._alone, below))
        return min(1.0, self._first(lambda low, high: -within < low and high < within) / 2)

    def beyond_p(self, within: float) -> float:
        """Return the two-sided p value of a difference of at most `within`."""
        if self._alone is not None:
            above, below = self.value + within, self.value - within
            return min(1.0, 2 * min(_above_p(self._alone, above), _below_p(self._alone, below)))
        return self._first(lambda low, high: low > within or high < -within)

    def below_p(self, margin: float = 0.0) -> float:
        """Return the one-sided p value of a difference of −`margin` or less."""
        if self._alone is not None:
            return _above_p(self._alone, self.value - margin)
        return self._first(lambda low, _: low > -margin) / 2

    @property
    def _alone(self) -> Pairs | None:
        """The pairs of the only ratio, if a single one is compared with a number."""
        one = self.left[0]
        return one.pairs if not self.right and len(self.left) == 1 and one.base is None else None

    def _first(self, holds: Callable[[float, float], bool]) -> float:
        """Return the least level at which the interval satisfies a condition; 1 if none does.

        Intervals shrink as the level rises, so all higher levels satisfy it too.
        """
        if not holds(*self.interval(1.0 - 1e-9)):
            return 1.0
        outside, inside = math.log(SMALLEST), 0.0
        if holds(*self.interval(SMALLEST)):
            return SMALLEST
        for _ in range(HALVINGS):
            middle = (outside + inside) / 2
            if holds(*self.interval(math.exp(middle))):
                inside = middle
            else:
                outside = middle
        return math.exp(inside)


def ratio_limits(pairs: Pairs, level: float) -> tuple[float, float]:
    """Return Fieller's limits for mean(x)/mean(y), for a ratio that is not negative.

    Args:
        pairs: (x, y) of each seed.
        level: 1 − the coverage of the interval.

    Returns:
        The least and the greatest ratio r for which a t test does not distinguish the mean of
        x − r y from 0; from 0 to infinity below two pairs.
    """
    return _Moments.of(pairs).limits(level)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Means of n pairs (x, y), and the variances and the covariance of these means."""

    n: int
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, pairs: Pairs) -> "_Moments":
        n = len(pairs)
        if n < 2:
            return cls(n)
        x, y = (math.fsum(pair[at] for pair in pairs) / n for at in (0, 1))
        xx, yy, xy = (
            math.fsum((p[a] - (x, y)[a]) * (p[b] - (x, y)[b]) for p in pairs) / (n - 1) / n
            for a, b in ((0, 0), (1, 1), (0, 1))
        )
        return cls(n, x, y, xx, yy, xy)

    def limits(self, level: float) -> tuple[float, float]:
        if self.n < 2:
            return 0.0, math.inf
        x, y, t = self.x, self.y, _student(self.n - 1, level) ** 2
        a, b, c = y * y - t * self.yy, x * y - t * self.xy, x * x - t * self.xx
        low = _least_root(a, b, c) if x > 0 and c > 0 else 0.0
        if y <= 0 or a <= 0:
            return low, math.inf
        return low, (b + math.sqrt(max(0.0, b * b - a * c))) / a


def skewed_limits(pairs: Pairs, level: float) -> tuple[float, float]:
    """Return Fieller's limits, widened as far as the skewness of x − r y requires.

    Args:
        pairs: (x, y) of each seed.
        level: 1 − the coverage of the interval.
    """
    low, high = ratio_limits(pairs, level)
    least = level / 2
    if 0 < low < math.inf and _above_p(pairs, low) > least * (1 + ROUNDING):
        low = _crossing(lambda r: _above_p(pairs, r) > least, low, 0.0)
    if high < math.inf and _below_p(pairs, high) > least * (1 + ROUNDING):
        beyond = max(high, SMALLEST)
        for _ in range(HALVINGS):
            beyond *= 2
            if _below_p(pairs, beyond) <= least:
                return low, _crossing(lambda r: _below_p(pairs, r) > least, high, beyond)
        high = math.inf
    return low, high


def _crossing(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where a condition that holds `inside` no longer does; `outside` if it always holds."""
    if holds(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _above_p(pairs: Pairs, ratio: float) -> float:
    """Return the one-sided p value of a ratio of `ratio` or less; a ratio is never negative."""
    return 0.0 if ratio < 0 else _beside(pairs, ratio).above_p(0.0)


def _below_p(pairs: Pairs, ratio: float) -> float:
    """Return the one-sided p value of a ratio of `ratio` or more."""
    return 1.0 if ratio < 0 else _beside(pairs, ratio).lower_p(0.0)


def _beside(pairs: Pairs, ratio: float) -> SkewedMean:
    """Return the mean of x − `ratio` y with its tests."""
    values = [x - ratio * y for x, y in pairs]
    estimate = of_mean(values) or Estimate(0.0, math.inf, 1, len(values))
    return SkewedMean(estimate, skewness(estimate, values))


def _least_root(a: float, b: float, c: float) -> float:
    """Return the least positive root of a r² − 2 b r + c for c > 0; infinity without one."""
    inside = b * b - a * c
    if inside < 0 and a > 0 and b > 0:
        inside = 0.0  # a double root, except for rounding
    if inside < 0:
        return math.inf
    bottom = b + math.sqrt(inside)  # c / bottom is the root nearer to 0, without cancellation
    return c / bottom if bottom > 0 else math.inf


def _over(low: float, most: float) -> float:
    """Return the least quotient of two ratios: the least one ÷ the greatest other one."""
    if low == 0 or math.isinf(most):
        return 0.0
    return low / most if most > 0 else math.inf


def _ratio(pairs: Pairs) -> float | None:
    top, bottom = (math.fsum(pair[at] for pair in pairs) for at in (0, 1))
    return top / bottom if bottom > 0 else None


def _mean(quotients: Sequence[Quotient]) -> float | None:
    values = [each.value for each in quotients]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _mean_limits(quotients: Sequence[Quotient], level: float) -> tuple[float, float]:
    limits = [each.limits(level / len(quotients)) for each in quotients]
    low, high = (math.fsum(limit[at] for limit in limits) / len(limits) for at in (0, 1))
    return low, high


def _student(df: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - level / 2))

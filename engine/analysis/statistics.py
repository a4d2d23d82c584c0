"""Means and differences of few values, with their uncertainty.

Welch's t (Welch 1947) with the degrees of freedom of Welch and Satterthwaite (Satterthwaite
1946), Student's t on paired differences, two one-sided tests for equality (Schuirmann 1987), and
Holm's adjustment for several comparisons (Holm 1979).

`scipy.special` is loaded when a distribution is first needed: a viewer and a conductor start
without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""The level of all tests, two-sided."""
ROUNDING = 1e-14
"""Spread below this share of the values comes from adding floats, not from a measurement."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or a difference of means: its standard error, degrees of freedom and seeds."""

    effect: float
    error: float
    df: float
    n: int


def of_mean(values: Sequence[float], floor: float = 0.0) -> Estimate | None:
    """Return the mean of values, or of paired differences; None below two values.

    Args:
        floor: the least variance of a value, because of its rounding: two seeds that agree to
            the last digit of a coarse figure are no proof of certainty.
    """
    if len(values) < 2:
        return None
    mean, variance = _moments(values, floor)
    return Estimate(mean, math.sqrt(variance / len(values)), len(values) - 1, len(values))


def paired(
    left: Sequence[float], right: Sequence[float], floors: tuple[float, float] = (0.0, 0.0)
) -> Estimate | None:
    """Return the mean of left − right, value by value; None below two pairs."""
    if len(left) < 2:
        return None
    differences = [a - b for a, b in zip(left, right, strict=True)]
    scale = max(abs(value) for value in (*left, *right))
    if _spread(differences) <= ROUNDING * scale:  # equal differences, except for rounding
        differences = [_rounded(math.fsum(differences) / len(differences), scale)] * len(left)
    return of_mean(differences, sum(floors))


def welch(
    left: Sequence[float], right: Sequence[float], floors: tuple[float, float] = (0.0, 0.0)
) -> Estimate | None:
    """Return mean of left − mean of right, for groups that share neither seeds nor variance."""
    one, other = of_mean(left, floors[0]), of_mean(right, floors[1])
    if one is None or other is None:
        return None
    a, b = one.error**2, other.error**2
    parts = a * a / one.df + b * b / other.df
    df = (a + b) ** 2 / parts if parts > 0 else one.df + other.df
    scale = max(abs(one.effect), abs(other.effect))
    effect = _rounded(one.effect - other.effect, scale) if a + b == 0 else one.effect - other.effect
    return Estimate(effect, math.sqrt(a + b), df, min(one.n, other.n))


def interval(of: Estimate, level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence interval of coverage 1 − level."""
    from scipy.special import stdtrit

    half = float(stdtrit(of.df, 1 - level / 2)) * of.error
    return of.effect - half, of.effect + half


def p_value(of: Estimate) -> float | None:
    """Return the two-sided p value of no effect; None if effect and standard error are both 0."""
    if of.error == 0:
        return None if of.effect == 0 else 0.0
    return 2 * _below(of.df, -abs(of.effect) / of.error)


def equality_p(of: Estimate, within: float) -> float:
    """Return the p value of an effect of `within` or larger: the greater of two one-sided ones."""
    if of.error == 0:
        return 0.0 if abs(of.effect) < within else 1.0
    return _below(of.df, (abs(of.effect) - within) / of.error)


def beyond_p(of: Estimate, within: float) -> float:
    """Return the p value of an effect of at most `within`, two-sided as in `p_value`.

    It is below 0.05 where the 95 % interval lies outside of ±`within`.
    """
    if of.error == 0:
        return 0.0 if abs(of.effect) > within else 1.0
    return min(1.0, 2 * _below(of.df, (within - abs(of.effect)) / of.error))


def below_p(of: Estimate, margin: float = 0.0) -> float:
    """Return the one-sided p value of an effect of −`margin` or less: small if it is larger."""
    if of.error == 0:
        return 0.0 if of.effect > -margin else 1.0
    return _below(of.df, -(of.effect + margin) / of.error)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979), so that all may be judged together.

    The i-th smallest of m is multiplied by m − i + 1, at most to 1 and at least to the one before.
    """
    adjusted, least = [0.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = least
    return adjusted


def _below(df: float, t: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(df, t))


def _moments(values: Sequence[float], floor: float) -> tuple[float, float]:
    """Return mean and sample variance (n − 1), computed from the deviations."""
    mean = math.fsum(values) / len(values)
    if _spread(values) <= ROUNDING * max(abs(value) for value in values):
        return values[0], floor
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, max(floor, variance)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _rounded(difference: float, scale: float) -> float:
    """Return a difference, or 0 if it does not exceed the rounding error at that scale."""
    return 0.0 if abs(difference) <= ROUNDING * scale else difference

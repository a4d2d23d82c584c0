"""The effect behind a verdict: a difference of means, or of ratios of means, with its tests."""

from dataclasses import dataclass

from batchscope.engine.analysis import statistics
from batchscope.engine.analysis.ratio_estimate import RatioDifference
from batchscope.engine.analysis.skewness import SkewedMean, skewness
from batchscope.engine.analysis.statistics import LEVEL, Estimate
from batchscope.engine.findings.censored_difference import CensoredDifference
from batchscope.engine.findings.comparison_sides import (
    LEAST_SEEDS,
    Side,
    above,
    difference,
    share_seeds,
)


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A difference of means over the seeds, judged by Student's or Welch's t."""

    estimate: Estimate

    @property
    def effect(self) -> float | None:
        """The difference."""
        return self.estimate.effect

    @property
    def n(self) -> int:
        """The number of pairs, or of seeds of the smaller side."""
        return self.estimate.n

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval of coverage 1 − `level`."""
        return statistics.interval(self.estimate, level)

    def p_value(self) -> float | None:
        """Return the two-sided p value of no difference; None if it is exactly zero."""
        return statistics.p_value(self.estimate)

    def equality_p(self, within: float) -> float:
        """Return the p value of a difference of `within` or more, by two one-sided tests."""
        return statistics.equality_p(self.estimate, within)

    def beyond_p(self, within: float) -> float:
        """Return the two-sided p value of a difference of at most `within`."""
        return statistics.beyond_p(self.estimate, within)

    def below_p(self, margin: float = 0.0) -> float:
        """Return the one-sided p value of a difference of −`margin` or less."""
        return statistics.below_p(self.estimate, margin)


Effect = MeanDifference | SkewedMean | CensoredDifference | RatioDifference


def effect_between(left: Side, right: Side) -> Effect | None:
    """Return left − right with its tests; None with fewer than two seeds."""
    found = change_between(left, right)
    if not isinstance(found, MeanDifference):
        return found
    estimate, one, other = found.estimate, left.judged, right.judged
    if left.censored or right.censored:
        return CensoredDifference(
            estimate,
            tuple(one.values()),
            tuple(other.values()),
            open_left=left.censored,
            open_right=right.censored,
        )
    if share_seeds(left, right):
        skewed = skewness(estimate, [one[seed] - other[seed] for seed in one if seed in other])
    else:
        skewed = skewness(estimate, list(one.values()), list(other.values()))
    return SkewedMean(estimate, skewed)


def change_between(left: Side, right: Side) -> MeanDifference | RatioDifference | None:
    """Return left − right, its means judged by plain t tests; None with fewer than two seeds."""
    if left.ratios and right.ratios:
        found = RatioDifference(left.ratios, right.ratios)
        return found if found.n >= LEAST_SEEDS else None
    estimate = difference(left, right)
    return MeanDifference(estimate) if estimate else None


def effect_above(side: Side, value: float) -> Effect | None:
    """Return the mean of a side − a number; None with fewer than two seeds."""
    if side.ratios:
        found = RatioDifference(side.ratios, value=value)
        return found if found.n >= LEAST_SEEDS else None
    estimate = above(side, value)
    values = tuple(side.judged.values())
    if estimate and side.censored:
        return CensoredDifference(estimate, values, value=value, open_left=True)
    return SkewedMean(estimate, skewness(estimate, values)) if estimate else None


def sign_of(effect: Effect) -> int:
    """Return in which direction an effect leans: 1, −1 or 0.

    A ratio without a value leans as its interval does where one end is bounded.
    """
    value = effect.effect
    if value is None:
        low, high = effect.interval()
        return 1 if low > 0 else -1 if high < 0 else 0
    return (value > 0) - (value < 0)

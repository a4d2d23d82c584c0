"""A mean whose interval is widened on the side of the tail."""

import math

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.analysis.skewness import WIDER, SkewedMean, skewness
from batchscope.engine.analysis.statistics import Estimate, interval, of_mean, p_value, welch

TAIL = [1.0, 1.1, 1.2, 1.3, 3.0]


def mean(values: list[float]) -> SkewedMean:
    estimate = of_mean(values)
    assert estimate is not None
    return SkewedMean(estimate, skewness(estimate, values))


def test_the_skewness_of_a_mean_is_that_of_the_values_by_the_root_of_n() -> None:
    assert mean(TAIL).skewness == pytest.approx(stats.skew(TAIL, bias=False) / math.sqrt(5))


def test_third_moments_of_two_groups_are_subtracted() -> None:
    left, right = TAIL, [0.0, 0.1, 0.5, 2.0]
    estimate = welch(left, right)
    assert estimate is not None
    third = [
        stats.skew(values, bias=False) * np.std(values, ddof=1) ** 3 / len(values) ** 2
        for values in (left, right)
    ]
    assert skewness(estimate, left, right) == pytest.approx(
        (third[0] - third[1]) / estimate.error**3
    )


def test_a_tail_above_widens_the_upper_half() -> None:
    found = mean(TAIL)
    low, high = interval(found.estimate)
    assert found.interval() == pytest.approx(
        (low, found.effect + (high - found.effect) * (1 + WIDER * found.skewness))
    )
    below = mean([-value for value in TAIL])
    assert below.interval() == pytest.approx(tuple(-end for end in reversed(found.interval())))


def test_without_a_tail_it_is_students_interval() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert found.interval(0.1) == pytest.approx(interval(found.estimate, 0.1))
    assert found.p_value() == pytest.approx(p_value(found.estimate))


def test_p_values_end_the_interval() -> None:
    found = mean([value - 6 for value in TAIL])
    p = found.p_value()
    assert p is not None
    plain = p_value(found.estimate)
    assert plain is not None
    assert plain < p < 0.05
    assert found.interval(p)[1] == pytest.approx(0, abs=1e-9)
    end = found.interval(0.1)[1]
    assert found.lower_p(end) == pytest.approx(0.05)
    assert found.beyond_p(-end) == pytest.approx(0.1)
    assert found.equality_p(5.0) == pytest.approx(max(found.above_p(-5), found.lower_p(5)))
    assert found.below_p(5.0) == found.above_p(-5.0)


def test_what_is_not_significant_keeps_students_p_value() -> None:
    found = mean([value - 1.8 for value in TAIL])
    assert found.p_value() == p_value(found.estimate)


def test_certainty_and_nothing() -> None:
    sure = SkewedMean(Estimate(1.0, 0.0, 2, 3), 0.0)
    assert (sure.p_value(), sure.above_p(0.5), sure.lower_p(0.5)) == (0.0, 0.0, 1.0)
    assert SkewedMean(Estimate(0.0, 0.0, 2, 3), 0.0).p_value() is None
    assert mean([1.0, 2.0]).skewness == 0.0
    assert mean([1.0] * 4).skewness == 0.0

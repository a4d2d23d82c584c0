"""The statistics against scipy's own, and where there is nothing to divide by."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from batchscope.engine.analysis.statistics import (
    Estimate,
    equality_p,
    interval,
    of_mean,
    p_value,
    paired,
    welch,
)

GROUPS = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


def found(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def varied(values: list[float]) -> bool:
    """Whether scipy's answer is one, and not a warning about cancellation."""
    return float(np.std(values)) > 1e-6


# ---- against the reference


@given(GROUPS, GROUPS)
def test_welch_is_that_of_scipy(left: list[float], right: list[float]) -> None:
    if not varied(left) and not varied(right):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one side may be constant
        expected = stats.ttest_ind(left, right, equal_var=False)
    ours = found(welch(left, right))
    assert ours.df == pytest.approx(expected.df, rel=1e-9)
    assert ours.effect / ours.error == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert p_value(ours) == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)
    for level in (0.05, 0.1):
        low, high = expected.confidence_interval(1 - level)
        assert interval(ours, level) == pytest.approx((low, high), rel=1e-8, abs=1e-9)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=12))
def test_paired_is_that_of_scipy(pairs: list[tuple[float, float]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if not varied([a - b for a, b in pairs]):
        return
    expected = stats.ttest_rel(left, right)
    ours = found(paired(left, right))
    assert (ours.df, ours.n) == (len(pairs) - 1, len(pairs))
    assert ours.effect / ours.error == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert p_value(ours) == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)
    low, high = expected.confidence_interval(0.95)
    assert interval(ours) == pytest.approx((low, high), rel=1e-8, abs=1e-9)


@given(GROUPS)
def test_the_interval_of_a_mean_is_that_of_scipy(values: list[float]) -> None:
    if not varied(values):
        return
    expected = stats.t.interval(
        0.95, len(values) - 1, np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
    )
    assert interval(found(of_mean(values))) == pytest.approx(expected, rel=1e-8, abs=1e-9)


@given(GROUPS, GROUPS, st.floats(0.01, 50))
def test_equality_is_two_one_sided_tests(
    left: list[float], right: list[float], within: float
) -> None:
    if not varied(left) or not varied(right):
        return
    ours = found(welch(left, right))
    shifted = [value - within for value in left], [value + within for value in left]
    above = stats.ttest_ind(shifted[0], right, equal_var=False, alternative="less").pvalue
    below = stats.ttest_ind(shifted[1], right, equal_var=False, alternative="greater").pvalue
    assert equality_p(ours, within) == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    low, high = interval(ours, 0.1)
    if abs(equality_p(ours, within) - 0.05) > 1e-9:
        assert (equality_p(ours, within) < 0.05) == (-within < low and high < within)


# ---- nothing to divide by


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_has_no_spread(values: list[float]) -> None:
    assert of_mean(values) is None
    assert paired(values, values) is None
    assert welch(values, [1.0, 2.0]) is None
    assert welch([1.0, 2.0], values) is None


@pytest.mark.parametrize("value", [0.0, 0.1, 0.97, -3e7])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_identical_constant_groups_tell_nothing(value: float, n: int) -> None:
    for ours in (welch([value] * n, [value] * (n + 1)), paired([value] * n, [value] * n)):
        assert found(ours).effect == 0
        assert p_value(found(ours)) is None
        assert interval(found(ours)) == (0, 0)


def test_different_constants_differ_for_certain() -> None:
    for ours in (welch([0.3] * 3, [0.1] * 3), paired([0.3] * 3, [0.1] * 3)):
        assert p_value(found(ours)) == 0
        assert interval(found(ours)) == pytest.approx((0.2, 0.2))
        assert equality_p(found(ours), 0.3) == 0
        assert equality_p(found(ours), 0.1) == 1


def test_what_rounding_leaves_is_no_spread() -> None:
    """0.3 − 0.1 and 0.4 − 0.2 differ in the last bit, which is no measurement."""
    ours = found(paired([0.3, 0.4, 0.7], [0.1, 0.2, 0.5]))
    assert ours.error == 0
    assert ours.effect == pytest.approx(0.2)
    ours = found(paired([0.1 + 0.2, 0.3], [0.3, 0.3]))
    assert (ours.effect, ours.error) == (0, 0)
    assert p_value(found(welch([0.1 + 0.2] * 2, [0.3] * 2))) is None


def test_one_constant_group_has_the_others_freedom() -> None:
    ours = found(welch([1.0, 2.0, 4.0], [3.0, 3.0]))
    assert ours.df == pytest.approx(2)
    assert ours.error == pytest.approx(np.std([1, 2, 4], ddof=1) / math.sqrt(3))


def test_a_floor_keeps_ties_of_a_coarse_figure_from_being_certain() -> None:
    """Two seeds that both differ by one image of 360 prove nothing."""
    image = 1 / 360
    floor = image**2 / 12
    values = [0.9, 0.95], [0.9 + image, 0.95 + image]
    assert p_value(found(paired(*values))) == 0
    ours = found(paired(*values, (floor, floor)))
    assert ours.error == pytest.approx(math.sqrt(2 * floor / 2))
    p = p_value(ours)
    assert p is not None
    assert p > 0.15
    wide = [0.1, 0.5, 0.9], [0.2, 0.7, 0.3]
    assert paired(*wide, (floor, floor)) == paired(*wide), "a spread above it is left as it is"

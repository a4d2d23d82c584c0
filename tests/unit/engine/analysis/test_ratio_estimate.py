"""Fieller's limits beside a brute-force inversion of scipy's t test, and what follows from them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from batchscope.engine.analysis.noise_scales import ratio_interval
from batchscope.engine.analysis.ratio_estimate import (
    Quotient,
    RatioDifference,
    ratio_limits,
    skewed_limits,
)
from batchscope.engine.analysis.skewness import WIDER

CLEAR = [(10.0, 1.0), (12.0, 1.3), (9.0, 0.8), (11.0, 1.2)]
VAGUE = [(10.0, 1.0), (12.0, -0.4), (9.0, 0.3), (11.0, 0.1)]
NEGATIVE = [(10.0, -1.0), (12.0, -1.1), (9.0, -0.9)]
GRID = np.geomspace(1e-3, 1e4, 20001)

sizes = st.floats(1e-6, 1e6)
signed = sizes | st.just(0.0) | sizes.map(lambda value: -value)
pair_lists = st.lists(st.tuples(sizes | st.just(0.0), signed), min_size=2, max_size=6)


def accepted(pairs: list[tuple[float, float]], level: float) -> tuple[float, float]:
    """The least and the greatest ratio of a grid that a t test does not reject."""
    x, y = np.array(pairs).T
    kept = stats.ttest_1samp(x[:, None] - y[:, None] * GRID, 0.0).pvalue >= level
    return float(GRID[kept][0]), float(GRID[kept][-1])


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_limits_are_those_of_an_inverted_t_test(seed: int, level: float) -> None:
    random = np.random.default_rng(seed)
    n = 3 + seed
    pairs = list(
        zip(random.normal(20, 2, n).tolist(), random.normal(1, 0.2, n).tolist(), strict=True)
    )
    low, high = ratio_limits(pairs, level)
    least, most = accepted(pairs, level)
    assert low == pytest.approx(least, rel=1e-3)
    if math.isinf(high):
        assert most == GRID[-1]
    else:
        assert high == pytest.approx(most, rel=1e-3)
        assert (low, high) == pytest.approx(ratio_interval(pairs, level))


def test_what_is_unbounded_has_a_lower_limit_alone() -> None:
    low, high = ratio_limits(VAGUE, 0.05)
    assert ratio_interval(VAGUE) == (None, None)
    assert low == pytest.approx(accepted(VAGUE, 0.05)[0], rel=1e-3)
    assert math.isinf(high)


def test_a_signal_below_zero_is_more_noise_than_any_number() -> None:
    assert ratio_limits(NEGATIVE, 0.05) == (math.inf, math.inf)
    found = RatioDifference((Quotient(NEGATIVE),), value=1e9)
    assert found.effect is None
    assert found.interval()[0] == math.inf


@pytest.mark.parametrize("pairs", [[], [(1.0, 1.0)]])
def test_fewer_than_two_pairs_say_nothing(pairs: list[tuple[float, float]]) -> None:
    assert ratio_limits(pairs, 0.05) == (0.0, math.inf)


def test_equal_pairs_are_certain() -> None:
    assert ratio_limits([(6.0, 2.0)] * 3, 0.05) == pytest.approx((3.0, 3.0))
    assert ratio_limits([(0.0, 0.0)] * 3, 0.05) == (0.0, math.inf)


@pytest.mark.parametrize("value", [1.0, 5.0, 8.0, 9.5, 11.0, 20.0])
def test_one_ratio_beside_a_number_is_a_t_test_of_the_remainders(value: float) -> None:
    """The t value is divided by the factor for skewness on the side of the tail."""
    rest = np.array([x - value * y for x, y in CLEAR])
    t = float(stats.ttest_1samp(rest, 0.0).statistic)
    skewness = float(stats.skew(rest, bias=False)) / math.sqrt(len(rest))
    wide = 1 + WIDER * max(0.0, -math.copysign(1, t) * skewness)
    found = RatioDifference((Quotient(CLEAR),), value=value)
    assert found.n == 4
    assert found.effect == pytest.approx(42 / 4.3 - value)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(abs(t) / wide, 3))
    assert found.below_p() == pytest.approx(
        float(stats.t.sf(t / wide, 3)) if t > 0 else 1 - float(stats.t.sf(-t, 3))
    )


def test_a_difference_of_two_ratios_combines_their_limits() -> None:
    found = RatioDifference((Quotient(CLEAR),), (Quotient([(2.0, 1.0), (2.2, 1.0), (1.9, 1.0)]),))
    low, high = ratio_limits(CLEAR, 0.025)
    least, most = ratio_limits([(2.0, 1.0), (2.2, 1.0), (1.9, 1.0)], 0.025)
    assert found.n == 3
    assert found.interval() == pytest.approx((low - most, high - least))
    p = found.p_value()
    assert found.interval(p * 0.999)[0] < 0 < found.interval(p * 1.001)[0]


def test_a_growth_divides_two_ratios_and_a_mean_shares_the_level() -> None:
    (low, high), (least, most) = ratio_limits(CLEAR, 0.025), ratio_limits(CLEAR[:3], 0.025)
    grown = Quotient(CLEAR, CLEAR[:3])
    assert grown.limits(0.05) == pytest.approx((low / most, high / least))
    assert grown.value == pytest.approx((42 / 4.3) / (31 / 3.1))
    both = RatioDifference((Quotient(CLEAR), Quotient(CLEAR[:3])))
    assert both.interval() == pytest.approx(((low + least) / 2, (high + most) / 2))
    assert Quotient(CLEAR, NEGATIVE).value is None
    assert Quotient(NEGATIVE).value is None


@pytest.mark.parametrize("within", [0.5, 2.0, 30.0])
def test_equality_is_two_one_sided_tests(within: float) -> None:
    """Of one ratio beside a number, and of two ratios whose 1 − 2 p interval ends at the margin."""
    alone = RatioDifference((Quotient(CLEAR),), value=9.0)
    up = RatioDifference((Quotient(CLEAR),), value=9.0 - within)
    assert alone.equality_p(within) >= up.below_p()
    two = RatioDifference((Quotient(CLEAR),), (Quotient(CLEAR[:3]),))
    p = two.equality_p(within)
    if p < 0.5:
        low, high = two.interval(2 * p * 1.001)
        assert -within < low
        assert high < within
        low, high = two.interval(2 * p * 0.999)
        assert low < -within or high > within
    assert two.beyond_p(within) == 1.0


@settings(deadline=None, max_examples=60)
@given(pair_lists, st.floats(0.001, 0.4))
def test_intervals_shrink_as_the_level_rises(
    pairs: list[tuple[float, float]], level: float
) -> None:
    for limits in (ratio_limits, skewed_limits):
        low, high = limits(pairs, level)
        inner = limits(pairs, level * 2)
        assert low <= inner[0] * (1 + 1e-6) or math.isinf(inner[0])
        assert high >= inner[1] * (1 - 1e-6) or math.isinf(high)
    narrow, wide = ratio_limits(pairs, level), skewed_limits(pairs, level)
    assert wide[0] <= narrow[0]
    assert wide[1] >= narrow[1]


@settings(deadline=None, max_examples=15)
@given(pair_lists, pair_lists, st.floats(0, 100))
def test_p_values_agree_with_intervals(
    left: list[tuple[float, float]], right: list[tuple[float, float]], value: float
) -> None:
    for found in (
        RatioDifference((Quotient(left),), (Quotient(right),)),
        RatioDifference((Quotient(left), Quotient(right)), value=value),
        RatioDifference((Quotient(left, right),), value=value),
    ):
        p = found.p_value()
        assert 0 <= p <= 1
        for level in (0.01, 0.05, 0.2):
            low, high = found.interval(level)
            if p < level * 0.999:
                assert low > 0 or high < 0
            elif p > level * 1.001:
                assert low <= 0 <= high


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1e-30, 1.0, 3.0, 1e30]),
            st.sampled_from([0.0, -1.0, 1e-30, -1e30, 2.0, 1e30]),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_zeros_and_extremes_are_judged_without_a_failure(pairs: list[tuple[float, float]]) -> None:
    alone = RatioDifference((Quotient(pairs),), value=1.0)
    two = RatioDifference((Quotient(pairs),), (Quotient([(1.0, 1.0), (2.0, 1.5)]),))
    for found in (alone, two):
        low, high = found.interval()
        assert low <= high * (1 + 1e-9 * math.copysign(1, high))
        for p in (found.p_value(), found.equality_p(0.5), found.beyond_p(0.5), found.below_p(0.1)):
            assert 0 <= p <= 1

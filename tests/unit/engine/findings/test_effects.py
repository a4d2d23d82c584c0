"""Which test an effect is judged by, beside scipy's, and what is said where it decides."""

import math

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.analysis.ratio_estimate import Quotient, RatioDifference
from batchscope.engine.analysis.skewness import SkewedMean
from batchscope.engine.findings.censored_difference import CensoredDifference
from batchscope.engine.findings.decisions import direction
from batchscope.engine.findings.effects import (
    MeanDifference,
    change_between,
    effect_above,
    effect_between,
)
from tests.unit.engine.verdict_simulations.noise import scales
from tests.unit.engine.verdict_simulations.sides import side, until

SLOW, FAST = [900.0, 950.0, 1000.0, 2000.0, 2000.0], [100.0, 120.0, 110.0, 90.0, 105.0]


def test_means_are_judged_with_regard_to_skewness_and_changes_of_a_trend_are_not() -> None:
    left, right = side([3.0, 3.1, 2.9]), side([1.0, 1.2, 1.1])
    assert isinstance(effect_between(left, right), SkewedMean)
    assert isinstance(effect_above(left, 1.0), SkewedMean)
    assert isinstance(change_between(left, right), MeanDifference)
    noise = scales([(10.0, 1.0), (11.0, 1.0)])
    assert isinstance(effect_between(noise, noise), RatioDifference)
    assert isinstance(effect_above(noise, 1.0), RatioDifference)


def test_too_few_seeds_have_no_effect() -> None:
    one, two = side([1.0]), side([1.0, 2.0])
    assert effect_between(one, two) is None
    assert effect_above(one, 0.0) is None
    few = side([1.0], measure="noise_scale", ratios=(Quotient([(1.0, 1.0)]),))
    assert effect_above(few, 0.0) is None
    assert effect_between(few, few) is None


def test_a_missed_target_is_judged_by_order_too() -> None:
    found = effect_between(until(SLOW, 1000), until(FAST, 1000))
    assert isinstance(found, CensoredDifference)
    censored = np.minimum(SLOW, 1000)
    assert found.effect == pytest.approx(float(np.mean(censored) - np.mean(FAST)))
    low, high = found.interval()
    assert low == pytest.approx(stats.ttest_rel(censored, FAST).confidence_interval(0.95).low)
    assert high == math.inf
    t = stats.ttest_rel(censored, FAST).pvalue
    assert t < 1e-4
    assert found.p_value() == pytest.approx(2 / 252)
    assert found.beyond_p(100.0) == pytest.approx(2 / 252)
    assert found.beyond_p(2000.0) == 1.0
    assert found.below_p() == pytest.approx(1 / 252)


def test_against_a_number_six_seeds_must_all_be_beyond_it() -> None:
    five = effect_above(until(SLOW, 1000), 500.0)
    six = effect_above(until([*SLOW, 950.0], 1000), 500.0)
    assert five is not None
    assert six is not None
    assert five.p_value() == pytest.approx(2 / 32)
    assert six.p_value() == pytest.approx(2 / 64)
    reason = direction(five, 1).reason
    assert "by a t test alone" in reason
    assert "order of the values" in reason


def test_fewer_than_five_seeds_show_nothing_beside_a_missed_target() -> None:
    found = effect_between(until(SLOW[1:], 1000), until(FAST[1:], 1000))
    assert found is not None
    assert found.p_value() == 1.0
    assert "fewer than 5 seeds" in direction(found, 1).reason


def test_skewness_is_named_where_it_decides() -> None:
    values = [0.90, 0.905, 0.91, 0.907, 0.82]
    assert stats.ttest_1samp(values, 0.84).pvalue < 0.05
    tight = effect_above(side(values), 0.84)
    assert tight is not None
    decision = direction(tight, 1)
    assert decision.word == "undetermined"
    assert "skewness of the values" in decision.reason


@pytest.mark.parametrize(("few", "many", "df"), [(3, 10, 2.0), (2, 5, 1.0)])
def test_few_seeds_beside_more_have_their_own_degrees_of_freedom(
    few: int, many: int, df: float
) -> None:
    random = np.random.default_rng(few)
    left = side(random.normal(0, 1, few), start=b"a")
    right = side(random.normal(0, 1, many), start=b"b")
    for found in (change_between(left, right), change_between(right, left)):
        assert isinstance(found, MeanDifference)
        assert found.estimate.df == min(df, found.estimate.df) == df


@pytest.mark.parametrize(("few", "many"), [(3, 3), (4, 10)])
def test_others_have_those_of_welch(few: int, many: int) -> None:
    random = np.random.default_rng(few)
    one, other = random.normal(0, 1, few), random.normal(0, 1, many)
    found = change_between(side(one, start=b"a"), side(other, start=b"b"))
    assert isinstance(found, MeanDifference)
    assert found.p_value() == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)

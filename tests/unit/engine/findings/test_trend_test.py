"""Reversals of a trend by hand, and how often simulated ones are missed."""

import itertools
import math
from typing import Any

import pytest
from scipy import stats

from batchscope.engine.analysis.ratio_estimate import Quotient
from batchscope.engine.findings.trend_test import (
    REVERSED,
    REVERSED_OTHERWISE,
    reversal,
    trend_gaps,
)
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep, trend, verdict
from tests.unit.engine.verdict_simulations.sides import side, until
from tests.unit.engine.verdict_simulations.trends import (
    ALLOWED,
    NOISE_REVERSED,
    NOISE_RISING,
    REVERSAL,
    honest,
    missed_supported,
    noise_supported,
    reversals,
    supported,
)


def named(name: str, values: Any) -> Any:
    return side(values, name=f"size {name}")


LOW, HIGH = [0.0, 0.1, -0.1], [4.0, 4.3, 3.7]


def test_a_peak_is_named_with_its_p_value() -> None:
    levels = [named("8", LOW), named("16", HIGH), named("32", [2.0, 2.2, 1.8])]
    p = stats.ttest_rel([2.0, 2.2, 1.8], HIGH)
    found = reversal(levels, 1)
    assert f"from size 16 to 32 (p = {p.pvalue:.2g})" in found
    assert reversal(levels, -1).count("from size 8 to 16") == 1
    assert reversal(levels[:2], 1) == ""


def test_the_clearest_of_several_reversals_is_named() -> None:
    levels = [named("1", HIGH), named("2", [3.0, 3.9, 3.1]), named("4", LOW), named("8", [9.0] * 3)]
    assert "from size 1 to 4" in reversal(levels, 1)


@pytest.mark.parametrize("n", [2, 3, 4, 10])
def test_a_change_is_a_reversal_below_the_level_of_its_seeds(n: int) -> None:
    """Changes of mean −1 whose t value is just below or just above the critical one."""
    critical = float(stats.t.isf(REVERSED.get(n, REVERSED_OTHERWISE) / 2, n - 1))
    shape = [(-1.0) ** at for at in range(n)] if n != 3 else [1.0, 0.0, -1.0]
    spread = float(stats.tstd(shape)) / n**0.5
    for factor, expected in ((0.99, False), (1.01, True)):
        size = 1 / (critical * factor * spread)
        first, second = [0.0] * n, [-1.0 + size * each for each in shape]
        mean = sum(second) / n
        second = [each - mean - 1 for each in second]
        found = reversal([named("1", first), named("2", second)], 1)
        assert bool(found) is expected


def test_ratios_are_compared_by_fiellers_limits() -> None:
    def scale(size: float) -> Any:
        pairs = [(size, 1.0), (size * 1.1, 1.0), (size * 0.9, 1.0)]
        return side(
            [size] * 3, name=f"size {size:g}", measure="noise_scale", ratios=(Quotient(pairs),)
        )

    assert "from size 64 to 16" in reversal([scale(8), scale(64), scale(16)], 1)
    assert reversal([scale(8), scale(16), scale(16.5)], 1) == ""


def test_levels_whose_missing_values_could_reverse_the_trend() -> None:
    full, missed = until([10, 20, 30], 100), until([50, 60, 200], 100)
    assert trend_gaps([full, full, missed], 1) == ""
    assert "missed the target" in trend_gaps([full, missed, full], 1)
    assert "missed the target" in trend_gaps([missed, full], 1)
    assert trend_gaps([missed, full], -1) == ""
    lost = side([1.0, 2.0], measure="test_accuracy", diverged=1)
    ended = side([1.0, 2.0], measure="test_accuracy")
    assert trend_gaps([lost, ended], 1) == ""
    assert "diverged" in trend_gaps([ended, lost], 1)


def test_a_sweep_with_a_peak_is_undetermined() -> None:
    means = (0.5, 0.9, 0.7)
    values = [
        (configuration(8 << at, seeds=5), [Ended(mean + 0.01 * (seed % 3)) for seed in range(5)])
        for at, mean in enumerate(means)
    ]
    values[0][1][0] = Ended(0.49)
    found = verdict(sweep(values, trend("increasing")))
    assert (found.verdict, found.p) == ("undetermined", None)
    assert "reverse from batch_size 16 to 32" in found.reason


@pytest.mark.parametrize("levels", [3, 4, 5, 6, 7])
def test_the_simulated_trends_fall_by_four_standard_deviations(levels: int) -> None:
    for shape in reversals(levels):
        assert len(shape.means) == levels, shape.name
        assert shape.means[-1] > shape.means[0], shape.name
        noise = shape.spreads or (1.0,) * levels
        falls = [
            (shape.means[one] - shape.means[two])
            / math.sqrt((noise[one] ** 2 + noise[two] ** 2) / 2 + shape.shared**2)
            for one, two in itertools.combinations(range(levels), 2)
        ]
        assert max(falls) >= REVERSAL, shape.name


@pytest.mark.parametrize("levels", [3, 7])
def test_reversals_of_four_standard_deviations_are_seldom_missed(levels: int) -> None:
    for shape in reversals(levels):
        assert supported(shape, 3, 200) <= ALLOWED + 0.03, shape.name


def test_honest_trends_are_found() -> None:
    shapes = {shape.name: shape for shape in honest(5)}
    assert supported(shapes["steps of 2"], 5, 100) >= 0.9
    assert supported(shapes["a plateau"], 5, 100) >= 0.7
    assert noise_supported(NOISE_RISING[0], 10, 20) >= 0.9


@pytest.mark.campaign
@pytest.mark.parametrize("n", [3, 4, 5, 7, 10])
@pytest.mark.parametrize("levels", [3, 4, 5, 6, 7])
def test_reversals_are_supported_no_oftener_than_allowed(levels: int, n: int) -> None:
    for shape in reversals(levels):
        assert supported(shape, n, 2000) <= ALLOWED, shape.name


def test_trends_that_end_in_missed_targets_are_found_from_five_seeds_on() -> None:
    assert missed_supported("rising", 5, 40) >= 0.9
    assert missed_supported("last", 5, 60) <= 0.1


@pytest.mark.campaign
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("where", ["last", "all"])
def test_flat_trends_with_missed_targets_are_seldom_supported(where: str, n: int) -> None:
    assert missed_supported(where, n, 2000) <= 0.033


@pytest.mark.campaign
@pytest.mark.parametrize("scales", NOISE_REVERSED)
def test_reversals_of_noise_scales_are_supported_no_oftener_than_allowed(
    scales: tuple[float, ...],
) -> None:
    assert noise_supported(scales, 3, 500) <= ALLOWED

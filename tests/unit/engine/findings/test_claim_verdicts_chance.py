"""How seldom a claim is supported by chance, and that planted effects are found."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.findings.claim_verdicts import judge
from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.decisions import direction, equality
from batchscope.engine.findings.effects import Effect, effect_above, effect_between
from batchscope.engine.findings.trend_test import reversal
from batchscope.engine.journal.events import Draws
from batchscope.engine.metrics.probe_values import SIZES
from batchscope.engine.spec import Claim, Probe
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    draws,
    sweep,
    trend,
)

SEEDS = range(2, 21)
SIMULATED = 2500
LEVEL = 0.05


def most(simulated: int = SIMULATED) -> int:
    """Supported that often by chance once in ten thousand, if at the level."""
    return int(stats.binom.ppf(1 - 1e-4, simulated, LEVEL))


def side(values: Any, start: bytes = b"", floor: float = 0.0) -> Side:
    found = {seed: float(value) for seed, value in enumerate(values)}
    size = len(found)
    return Side("x 1", "m", found, size, size, frozenset(), 0, frozenset({start}), floor)


def estimated(left: Side, right: Side) -> Effect:
    found = effect_between(left, right)
    assert found is not None
    return found


def paired_sides(random: np.random.Generator, n: int) -> str:
    """A seed shifts both sides by much more than the remaining noise."""
    luck = random.normal(0, 0.02, n)
    left, right = (side(0.9 + luck + random.normal(0, 0.01, n)) for _ in range(2))
    return direction(estimated(left, right), 1).word


def welch_sides(random: np.random.Generator, n: int) -> str:
    left = side(random.normal(0.9, 0.03, n), b"a")
    right = side(random.normal(0.9, 0.005, n), b"b")
    return direction(estimated(left, right), -1).word


def coarse_sides(random: np.random.Generator, n: int) -> str:
    """Accuracies on 360 images that spread by little more than one image."""
    image = 1 / 360
    drawn = (np.round(random.normal(345, 1.3, n)) * image for _ in range(2))
    left, right = (side(values, b"", image**2 / 4) for values in drawn)
    return direction(estimated(left, right), 1).word


def flat_trend(random: np.random.Generator, n: int) -> str:
    luck = random.normal(0, 0.02, n)
    levels = [side(0.9 + luck + random.normal(0, 0.01, n)) for _ in range(5)]
    return trending(levels)


def trending(levels: list[Side]) -> str:
    word = direction(estimated(levels[-1], levels[0]), -1).word
    return "undetermined" if word == "supported" and reversal(levels, -1) else word


def just_unequal(random: np.random.Generator, n: int) -> str:
    """As far apart as would no longer count as equal."""
    left, right = side(random.normal(0.91, 0.004, n)), side(random.normal(0.90, 0.004, n))
    return equality(estimated(left, right), 0.01).word


def beside(values: Any, value: float, floor: float = 0.0) -> Effect:
    found = effect_above(side(values, floor=floor), value)
    assert found is not None
    return found


def beside_its_mean(random: np.random.Generator, n: int) -> str:
    return direction(beside(random.normal(0.998, 0.001, n), 0.998), 1).word


def coarse_beside_its_mean(random: np.random.Generator, n: int) -> str:
    """Accuracies on 360 images with a mean between two possible values."""
    image = 1 / 360
    values = np.round(random.normal(345.3, 1.3, n)) * image
    return direction(beside(values, 345.3 * image, image**2 / 4), -1).word


def just_beside(random: np.random.Generator, n: int) -> str:
    """As far from the number as would no longer count as equal."""
    return equality(beside(random.normal(0.99, 0.004, n), 0.98), 0.01).word


@pytest.mark.campaign
@pytest.mark.parametrize(
    "draw",
    [
        paired_sides,
        welch_sides,
        coarse_sides,
        flat_trend,
        just_unequal,
        beside_its_mean,
        coarse_beside_its_mean,
        just_beside,
    ],
)
def test_without_an_effect_support_is_no_oftener_than_the_level(
    draw: Callable[[np.random.Generator, int], str],
) -> None:
    for n in SEEDS:
        random = np.random.default_rng([2018, n])
        words = [draw(random, n) for _ in range(SIMULATED)]
        decided = SIMULATED - words.count("undetermined")
        assert words.count("supported") <= most(), f"{n} seeds"
        if draw not in (just_unequal, just_beside):
            assert decided <= most(), f"{n} seeds, both ways together"


NOISE = 0.01
HUMP = (0.90, *[0.90 + 4 * NOISE] * 6, 0.90 - 4 * NOISE)
PEAK = (0.90, *(0.90 + NOISE * up for up in (2, 3, 4, 4, 3, 2)), 0.90 - 4 * NOISE)
DIPS = (*[0.90, 0.92] * 3, 0.90, 0.86)


def supported_share(means: Sequence[float], n: int, rounds: int = 2000) -> float:
    """How often these true means of the levels are taken to fall throughout."""
    random = np.random.default_rng([1979, n])
    found = 0
    for _ in range(rounds):
        levels = [side(mean + random.normal(0, NOISE, n)) for mean in means]
        found += trending(levels) == "supported"
    return found / rounds


@pytest.mark.parametrize(
    ("means", "n", "most_often"),
    [(HUMP, 3, 0.02), (HUMP, 2, 0.05), (HUMP, 5, 0.01), (PEAK, 3, 0.1), (DIPS, 3, 0.15)],
)
def test_what_rises_and_then_falls_is_seldom_a_fall(
    means: Sequence[float], n: int, most_often: float
) -> None:
    assert supported_share(means, n) <= most_often


def test_what_falls_throughout_is_found() -> None:
    assert supported_share([0.9 - NOISE * 4 * at for at in range(8)], 3) >= 0.9


PROBE = Probe(at=(1.0,), batch_sizes=(1, 8, 64))


def frozen(random: np.random.Generator, luck: float) -> list[Draws]:
    """The same norm at each batch size, but for noise."""
    return [draws(size, luck + float(random.normal(0, 0.01))) for size in PROBE.batch_sizes]


@pytest.mark.campaign
def test_without_an_effect_whole_sweeps_are_seldom_decided() -> None:
    """The same through sweeps, tables and selectors, over all numbers of seeds together."""
    random = np.random.default_rng(7)
    number = Claim(statement="s", measure="test_loss", relation="less", value=0.1)
    within = trend("increasing", "probe_norm_mean", SIZES)
    claims = (comparison("greater"), trend("increasing", "test_loss"), number, within)
    counts = dict.fromkeys(range(len(claims)), 0)
    rounds = 25
    for n in [*SEEDS] * rounds:
        luck = random.normal(0, 0.02, n)
        drawn = []
        for size in (8, 16, 64):
            values = 0.9 + luck + random.normal(0, 0.01, n)
            ends = [
                Ended(
                    round(v, 3),
                    figures={"test_loss": 1 - float(v)},
                    probes={1.0: frozen(random, float(v))},
                )
                for v in values
            ]
            drawn.append((configuration(size, seeds=n, probe=PROBE), ends))
        for at, found in enumerate(judge(sweep(drawn, *claims))):
            counts[at] += found.verdict == "supported"
    assert max(counts.values()) <= most(len(SEEDS) * rounds)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_planted_effects_are_found(n: int) -> None:
    random = np.random.default_rng(11)
    luck = random.normal(0, 0.02, n)
    levels = [0.95, 0.93, 0.90, 0.86]
    columns = [level + luck + random.normal(0, 0.002, n) for level in levels]
    drawn = [
        (configuration(8 << at, seeds=n), [round(float(v), 3) for v in column])
        for at, column in enumerate(columns)
    ]
    claims = (
        trend("decreasing"),
        trend("increasing"),
        comparison("greater"),
        comparison("less"),
        comparison("equal", 0.02),
        comparison("equal", 0.5),
    )
    assert [found.verdict for found in judge(sweep(drawn, *claims))] == [
        "supported",
        "contradicted",
        "supported",
        "contradicted",
        "contradicted",
        "supported",
    ]

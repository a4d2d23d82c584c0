"""Measures that are judged as means: ordinary, coarse, skewed, missed, lost or collapsed ones."""

from typing import Any

import numpy as np

from batchscope.engine.findings.claim_verdicts import Verdict
from tests.unit.engine.verdict_simulations.sides import (
    EQUALITY,
    Kind,
    Random,
    beside,
    between,
    side,
    until,
)

IMAGE = 1 / 360
COARSE = IMAGE**2 / 4
CHANCE = 0.1
CLEAR = 2.5
"""A clear effect: so many standard deviations of a single seed's value."""


def paired(random: Random, n: int, true: bool) -> Verdict:
    """A seed shifts both sides by twice the remaining noise."""
    luck = random.normal(0, 2, n)
    left = luck + random.normal(CLEAR * true, 1, n)
    return between("greater", side(left), side(luck + random.normal(0, 1, n)))


def welch(random: Random, n: int, true: bool) -> Verdict:
    """The spreads differ by a factor of six."""
    left = random.normal(CLEAR * true, 1, n)
    return between("greater", side(left, start=b"a"), side(random.normal(0, 1 / 6, n), start=b"b"))


def uneven(random: Random, n: int, true: bool) -> Verdict:
    """One side has three seeds and the wider spread."""
    left = random.normal(CLEAR * 3 * true, 3, 3)
    return between("greater", side(left, start=b"a"), side(random.normal(0, 1, n), start=b"b"))


def number(random: Random, n: int, true: bool) -> Verdict:
    return beside("less", side(random.normal(-CLEAR * true, 1, n)), 0.0)


def equal(random: Random, n: int, true: bool) -> Verdict:
    """As far apart as would no longer count as equal."""
    left, right = random.normal(0 if true else 4, 1, n), random.normal(0, 1, n)
    return between("equal", side(left), side(right), within=4.0)


def equal_apart(random: Random, n: int, true: bool) -> Verdict:
    left, right = random.normal(0 if true else 4, 1, n), random.normal(0, 0.3, n)
    return between("equal", side(left, start=b"a"), side(right, start=b"b"), within=4.0)


def equal_number(random: Random, n: int, true: bool) -> Verdict:
    return beside("equal", side(random.normal(0 if true else 4, 1, n)), 0.0, within=4.0)


def _rounded_mean(mean: float, spread: float) -> float:
    """The mean of a normal value that is rounded to whole images."""
    from scipy.stats import norm

    at = np.arange(-20, 21)
    shares = norm.cdf(at + 0.5, mean, spread) - norm.cdf(at - 0.5, mean, spread)
    return float(at @ shares)


def coarse(random: Random, n: int, true: bool) -> Verdict:
    """Accuracies that spread by a third to a whole image, beside their own mean."""
    spread, mean = random.choice([0.3, 0.5, 1.0]), random.uniform(-0.5, 0.5)
    counts = np.round(random.normal(mean, spread, n))
    less = random.random() < 0.5
    far = 2.5 * true * (1 if less else -1)
    value = 0.9 + (_rounded_mean(mean, spread) + far) * IMAGE
    accuracy = side(0.9 + counts * IMAGE, measure="test_accuracy", floor=COARSE)
    return beside("less" if less else "greater", accuracy, value)


def coarse_paired(random: Random, n: int, true: bool) -> Verdict:
    spread, mean = random.choice([0.3, 0.5, 1.0]), random.uniform(-0.5, 0.5)
    left, right = (np.round(random.normal(mean, spread, n)) * IMAGE for _ in range(2))
    sides = (
        side(x, measure="test_accuracy", floor=COARSE) for x in (left + 2.5 * IMAGE * true, right)
    )
    return between("greater", *sides)


def skewed(spread: float) -> Kind:
    """Log-normal losses below their own mean."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        losses = np.exp(random.normal(0, spread, n))
        mean = np.exp(spread**2 / 2)
        return beside("less", side(losses), float(mean * (1 + CLEAR * spread * true)))

    return Kind(f"log-normal losses, spread {spread:g}, below a number", draw)


def skewed_paired(random: Random, n: int, true: bool) -> Verdict:
    left, right = (np.exp(random.normal(0, 0.5, n)) for _ in range(2))
    return between("less", side(left), side(right + CLEAR * 0.6 * true))


def skewed_apart(random: Random, n: int, true: bool) -> Verdict:
    """One side spreads by a third of its mean, the other by a tenth."""
    left = np.exp(random.normal(0, 0.3, n) - 0.3**2 / 2)
    right = np.exp(random.normal(0, 0.1, n) - 0.1**2 / 2)
    return between("less", side(left), side(right + CLEAR * 0.3 * true))


def heavy(random: Random, n: int, true: bool) -> Verdict:
    """Student's t with three degrees of freedom."""
    left, right = random.standard_t(3, (2, n))
    return between("greater", side(left + CLEAR * true), side(right))


def heavy_number(random: Random, n: int, true: bool) -> Verdict:
    return beside("greater", side(random.standard_t(3, n) + CLEAR * true), 0.0)


BUDGET = 1000 + 0.43 * 200
"""A third of the trainings of 1,000 ± 200 steps need more."""
CHECKED = 20.0


def _steps(random: Random, mean: float, n: int, spread: float = 200) -> Any:
    """Steps until the check that finds the target: every 20 steps."""
    return np.ceil(random.normal(mean, spread, n) / CHECKED) * CHECKED


def missed(left_spread: float, right_spread: float, both: bool, relation: str) -> Kind:
    """The mean steps are equal, a third of the seeds miss the target on the left, or on both."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        sign = 1 if relation == "greater" else -1
        wide = left_spread / 200
        left = _steps(random, 1000, n, left_spread)
        right = _steps(random, 1000 - sign * 500 * true, n, right_spread)
        budgets = (1000 + (BUDGET - 1000) * wide, BUDGET if both else 1e9)
        sides = (
            until(steps, round(budget / CHECKED) * CHECKED, CHECKED**2 / 4)
            for steps, budget in zip((left, right), budgets, strict=True)
        )
        return between("greater" if relation == "greater" else "less", *sides)

    where = "both sides" if both else "the left"
    return Kind(
        f"a third miss the target on {where}, {relation}, spreads {left_spread:g}, "
        f"{right_spread:g}",
        draw,
    )


def missed_number(random: Random, n: int, true: bool) -> Verdict:
    steps = until(_steps(random, 1000, n), BUDGET, CHECKED**2 / 4)
    return beside("greater", steps, 400.0 if true else 1010.0)


def missed_equal(random: Random, n: int, true: bool) -> Verdict:
    left = until(_steps(random, 1000, n), BUDGET, CHECKED**2 / 4)
    far = 0 if true else 400
    return between(
        "equal", left, until(_steps(random, 1000 - far, n), 1e9, CHECKED**2 / 4), within=400.0
    )


def all_missed(random: Random, n: int, true: bool) -> Verdict:
    """The left never reaches the target, the right is as slow but had a larger budget."""
    left = until(_steps(random, 1100, n), 600, CHECKED**2 / 4)
    return between("greater", left, until(_steps(random, 300 if true else 1100, n), 1e9))


def diverged(relation: str) -> Kind:
    """Equal latent means, but the trainings with the worst latent values diverge on the right."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        luck = random.normal(0, 1, n)
        left, right = (luck + random.normal(0, 1, n) for _ in range(2))
        if true:
            right = right + (CLEAR * 2 if relation == "less" else -CLEAR * 2)
        kept = {seed: value for seed, value in enumerate(right) if value - CLEAR * 2 * true > -0.6}
        there = side(kept, measure="test_accuracy", diverged=n - len(kept))
        here = side(left, measure="test_accuracy")
        return between("less" if relation == "less" else "greater", here, there)

    return Kind(f"the worst third diverge on the right, {relation}", draw)


def collapsing(random: Random, n: int, rate: float) -> Any:
    """Accuracies of which some are those of chance."""
    fell = random.random(n) < rate
    return np.where(fell, CHANCE, random.normal(0.95, 0.01, n))


def collapse(rate: float, relation: str, shown: bool = False) -> Kind:
    """Equal means, collapses on the left included; only sweeps that `shown` one, if asked."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        mean = rate * CHANCE + (1 - rate) * 0.95
        left = collapsing(random, n, rate)
        while shown and left.min() > 0.5:
            left = collapsing(random, n, rate)
        far = {"greater": -0.6, "less": 0.6}.get(relation, 0.0) * true
        right = random.normal(mean + far, 0.01, n)
        sides = (side(x, measure="test_accuracy", floor=COARSE) for x in (left, right))
        return between("less" if relation == "less" else "greater", *sides)

    how = ", at least one seen" if shown else ""
    return Kind(f"collapses at {rate:g} on the left, {relation}{how}", draw)


def collapse_both(rate: float) -> Kind:
    """Both sides collapse as often."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        left, right = (collapsing(random, n, rate) for _ in range(2))
        sides = (side(x, measure="test_accuracy", floor=COARSE) for x in (left, right - 0.3 * true))
        return between("greater", *sides)

    return Kind(f"collapses at {rate:g} on both sides, greater", draw)


def extreme(random: Random, n: int, true: bool) -> Verdict:
    """A value is missing where it would be largest."""
    left, right = random.normal(CLEAR * true, 1, n), random.normal(0, 1, n)
    kept = {seed: value for seed, value in enumerate(right) if value < 0.43}
    return between(
        "greater",
        side(left, measure="grad_norm_cv_late"),
        side(kept, measure="grad_norm_cv_late", lacking=n - len(kept)),
    )


def stacks(random: Random, n: int, true: bool) -> Verdict:
    """Times of stacks: every stack is one value."""
    left, right = (
        np.exp(random.normal(0, 0.1, n)) * factor for factor in (1 - CLEAR * 0.1 * true, 1)
    )
    return between(
        "less",
        side(left, measure="epoch_seconds", start=b"a"),
        side(right, measure="epoch_seconds", start=b"b"),
    )


MEANS = (
    Kind("paired, greater", paired),
    Kind("Welch, spreads 1 and 1/6", welch),
    Kind("Welch, 3 seeds beside n, spreads 3 and 1", uneven),
    Kind("one side below a number", number),
    Kind("paired, equal", equal, EQUALITY),
    Kind("Welch, equal", equal_apart, EQUALITY),
    Kind("equal to a number", equal_number, EQUALITY),
    Kind("accuracies in steps, beside a number", coarse),
    Kind("accuracies in steps, paired", coarse_paired),
    skewed(0.1),
    skewed(0.2),
    Kind("log-normal losses, spread 0.5, paired", skewed_paired),
    Kind("log-normal losses, spreads 0.3 and 0.1, paired", skewed_apart),
    Kind("heavy tails (t, 3 df), paired", heavy),
    Kind("heavy tails (t, 3 df), above a number", heavy_number),
    Kind("times of stacks (n stacks), Welch", stacks),
)
MISSING = (
    missed(200, 200, False, "greater"),
    missed(200, 200, False, "less"),
    missed(200, 60, False, "greater"),
    missed(200, 200, True, "greater"),
    missed(200, 200, True, "less"),
    Kind("a third miss the target, greater than a number", missed_number),
    Kind("a third miss the target, equal", missed_equal, EQUALITY),
    Kind("all miss the target on the left, greater", all_missed),
    diverged("less"),
    diverged("greater"),
    collapse_both(0.2),
    collapse(0.2, "greater", shown=True),
    collapse(0.2, "less"),
    collapse(0.4, "greater", shown=True),
    Kind("missing where it is extreme", extreme),
)
SKEWED = (skewed(0.3), skewed(0.5), skewed(1.0))
"""Skewed so strongly that the bound does not hold."""
UNKNOWABLE = (collapse(0.1, "greater"), collapse(0.2, "greater"), collapse(0.4, "greater"))
"""Collapses that no seed may have shown: the bound cannot hold."""

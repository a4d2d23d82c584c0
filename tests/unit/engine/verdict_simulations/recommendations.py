"""Recommendations in simulated quickstarts: how often a size that is clearly worse is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchscope.engine.findings.recommendation import non_inferior
from tests.unit.engine.verdict_simulations.sides import side

MARGIN = 0.005
IMAGES = 360
ALLOWED = 0.065


@dataclass(frozen=True)
class Sizes:
    """True accuracies of the sizes and their standard deviations in percent, small sizes first.

    Args:
        name: what they are.
        means, spreads: of each size.
        shared: the share of the variance that all sizes of a seed have in common.
    """

    name: str
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    shared: float = 0.0


OWN = (
    (98.80, 98.89, 98.52, 98.43, 98.15, 97.41, 94.26),
    (0.42, 0.28, 0.42, 0.16, 0.16, 0.16, 0.85),
)
BEYOND = 99.0 - 0.5001
SIZES = (
    Sizes("the quickstart's", *OWN),
    Sizes("the quickstart's, seeds shared", *OWN, shared=0.6),
    Sizes("all but one at the margin", (99.0, *[BEYOND] * 6), (0.3,) * 7),
    Sizes("all but one at the margin, seeds shared", (99.0, *[BEYOND] * 6), (0.3,) * 7, 0.6),
    Sizes("one at the margin, others equal", (*[99.0] * 6, BEYOND), (0.3,) * 7),
    Sizes("two sizes at the margin", (99.0, BEYOND), (0.3, 0.3)),
    Sizes("at the margin, unequal spreads", (99.0, *[BEYOND] * 6), (0.6, *[0.15, 0.4, 0.8] * 2)),
    Sizes("at the margin, little spread", (99.0, *[BEYOND] * 6), (0.1,) * 7),
)


def drawn(sizes: Sizes, random: np.random.Generator, n: int) -> list[list[float]]:
    """Accuracies of each size and seed, in steps of one image of 360."""
    luck = random.normal(0, 1, n)
    values = []
    for mean, spread in zip(sizes.means, sizes.spreads, strict=True):
        own = random.normal(0, 1, n) * np.sqrt(1 - sizes.shared)
        percent = mean + spread * (own + luck * np.sqrt(sizes.shared))
        values.append((np.round(np.minimum(percent, 100) / 100 * IMAGES) / IMAGES).tolist())
    return values


def named(values: Sequence[Sequence[float]]) -> int | None:
    """Which size is recommended, if times fall with the size: the largest of those that hold."""
    sides = [side(each, measure="test_accuracy", floor=0.25 / IMAGES**2) for each in values]
    good = non_inferior(sides, MARGIN)
    return max((at for at, holds in enumerate(good) if holds), default=None)


def shares(sizes: Sizes, n: int, rounds: int) -> tuple[float, float]:
    """How often a size worse by more than the margin is named, and how often any is."""
    random = np.random.default_rng([3, n, *sizes.name.encode()])
    best = max(sizes.means)
    worse = some = 0
    for _ in range(rounds):
        at = named(drawn(sizes, random, n))
        some += at is not None
        worse += at is not None and sizes.means[at] < best - MARGIN * 100
    return worse / rounds, some / rounds

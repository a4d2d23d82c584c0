"""Noise scales: per-image gradients G + noise, and the estimates that a training makes of them.

The covariance has `d` equal dimensions, and G lies along one of them. A part of a quarter of the
batch is compared with the whole batch, and both norms come from the same images, so the estimates
of tr(Σ) and |G|² of a step are dependent (`engine.metrics.noise_scale`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscope.engine.analysis.ratio_estimate import Quotient
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.comparison_sides import Side
from tests.unit.engine.verdict_simulations.sides import (
    EQUALITY,
    Kind,
    Random,
    beside,
    between,
    side,
)

GROWTH = "noise_scale_growth"


@dataclass(frozen=True)
class Drawn:
    """How the gradients of a training are measured: batch size, dimensions, measured steps."""

    batch: int = 32
    dimensions: int = 30
    draws: int = 50

    def pairs(self, random: Random, signals: Any, trace: float = 1.0) -> list[tuple[float, float]]:
        """Return tr(Σ) and |G|² as estimated by each seed.

        Args:
            random: the generator.
            signals: the true |G|² of each seed; a negative one, as after the correction for a
                finite number of images, is added to the estimates.
            trace: the true tr(Σ).
        """
        signals = np.asarray(signals, float)
        shape = (len(signals), self.draws)
        small, d = max(1, self.batch // 4), self.dimensions
        rest = self.batch - small
        length = np.sqrt(np.maximum(signals, 0))[:, None]
        sd_small, sd_rest = (np.sqrt(trace / d / size) for size in (small, rest))
        along = length + random.normal(0, sd_small, shape)
        along_rest = length + random.normal(0, sd_rest, shape)
        across = sd_small * np.sqrt(random.chisquare(d - 1, shape))
        # the part across G of the other images: along that of the small batch, and beside it
        shared = random.normal(0, sd_rest, shape)
        beside_it = sd_rest**2 * (random.chisquare(d - 2, shape) if d > 2 else 0.0)
        a, b = small / self.batch, rest / self.batch
        norm_small = along**2 + across**2
        norm_whole = (a * along + b * along_rest) ** 2
        norm_whole += (a * across + b * shared) ** 2 + b**2 * beside_it
        traces = (norm_small - norm_whole) / (1 / small - 1 / self.batch)
        found = (self.batch * norm_whole - small * norm_small) / rest
        found = found + np.minimum(signals, 0)[:, None]
        return list(zip(traces.mean(1).tolist(), found.mean(1).tolist(), strict=True))


def scales(*pairs: Sequence[tuple[float, float]], start: bytes = b"") -> Side:
    """A side with the noise scales of one configuration, or of several."""
    own = [x / y if y > 0 else None for x, y in pairs[0]]
    known = {seed: value for seed, value in enumerate(own) if value is not None}
    quotients = tuple(Quotient(list(each)) for each in pairs)
    return side(
        known, measure="noise_scale", ratios=quotients, lacking=len(own) - len(known), start=start
    )


def signals(random: Random, scale: float, n: int, spread: float = 0.2) -> Any:
    """True |G|² of the seeds, whose mean is 1 / scale."""
    return np.exp(random.normal(-(spread**2) / 2, spread, n)) / scale


def number(drawn: Drawn, scale: float, relation: str, name: str) -> Kind:
    """The true noise scale is the number of the claim."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        factor = (0.25 if relation == "greater" else 4.0) if true else 1.0
        seeds = scales(drawn.pairs(random, signals(random, scale, n)))
        return beside("greater" if relation == "greater" else "less", seeds, scale * factor)

    return Kind(f"noise scale {name}, {relation} than a number", draw)


def infinite(drawn: Drawn, name: str, signal: float = 0.0) -> Kind:
    """|G|² is 0, or negative after correction: no number exceeds the noise scale."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        seeds = scales(drawn.pairs(random, np.full(n, 1 / 32 if true else signal)))
        return beside("less", seeds, 128.0 if true else 1000.0)

    return Kind(f"noise scale infinite ({name}), less than a number", draw)


def issue(random: Random, n: int, true: bool) -> Verdict:
    """True scales of the seeds from 19.7 to 56.7, batches of 4, 100 draws."""
    true_scales = random.uniform(19.7, 56.7, n)
    seeds = scales(Drawn(4, 30, 100).pairs(random, 1 / true_scales))
    return beside("less", seeds, 200.0 if true else 19.6)


def two(drawn: Drawn, relation: str, name: str, scale: float = 32.0) -> Kind:
    """Two configurations with the same noise scale."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        left, right = (scale, scale)
        if true and relation == "less":
            right = 4 * scale
        elif true:
            left = 4 * scale
        sides = (scales(drawn.pairs(random, signals(random, each, n))) for each in (left, right))
        return between("less" if relation == "less" else "greater", *sides)

    return Kind(f"noise scales of two{name}, {relation}", draw)


def two_infinite(random: Random, n: int, true: bool) -> Verdict:
    left = np.full(n, 1 / 8 if true else 0.0)
    drawn = Drawn()
    return between(
        "less", scales(drawn.pairs(random, left)), scales(drawn.pairs(random, np.zeros(n)))
    )


def equal(random: Random, n: int, true: bool) -> Verdict:
    """32 apart, as much as would no longer count as equal."""
    drawn = Drawn(draws=200)
    sides = (
        scales(drawn.pairs(random, signals(random, each, n, 0.1)))
        for each in (32.0, 32.0 if true else 64.0)
    )
    return between("equal", *sides, within=32.0)


def growth(drawn: Drawn, relation: str, scale: float) -> Kind:
    """The noise scale does not grow, beside a growth of 1."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        factor = (8.0 if relation == "greater" else 1 / 8) if true else 1.0
        first = drawn.pairs(random, signals(random, scale, n))
        later = drawn.pairs(random, signals(random, scale * factor, n))
        seeds = [
            (x / y) / (a / b) if y > 0 and a > 0 and b > 0 else None
            for (x, y), (a, b) in zip(later, first, strict=True)
        ]
        known = {seed: value for seed, value in enumerate(seeds) if value is not None}
        both = (Quotient(later, first),)
        found = side(known, measure=GROWTH, ratios=both, lacking=n - len(known))
        return beside("greater" if relation == "greater" else "less", found, 1.0)

    return Kind(f"growth of a noise scale of {scale:g}, {relation} than 1", draw)


def averaged(relation: str) -> Kind:
    """The mean of three configurations is the number of the claim."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        drawn = Drawn()
        every = [drawn.pairs(random, signals(random, each, n)) for each in (16, 32, 64)]
        factor = (0.25 if relation == "greater" else 4.0) if true else 1.0
        value = 112 / 3 * factor
        return beside("greater" if relation == "greater" else "less", scales(*every), value)

    return Kind(f"mean of three noise scales, {relation} than a number", draw)


def averaged_infinite(random: Random, n: int, true: bool) -> Verdict:
    """One of two configurations has an infinite noise scale."""
    drawn = Drawn()
    second = np.full(n, 1 / 32 if true else 0.0)
    every = [drawn.pairs(random, each) for each in (signals(random, 16, n), second)]
    return beside("less", scales(*every), 200.0)


NOISE = (
    number(Drawn(), 32, "less", "of the batch size"),
    number(Drawn(), 32, "greater", "of the batch size"),
    number(Drawn(dimensions=3), 32, "greater", "in 3 dimensions"),
    number(Drawn(dimensions=3, draws=10), 32, "greater", "in 3 dimensions, 10 draws"),
    number(Drawn(dimensions=3, draws=10), 32, "less", "in 3 dimensions, 10 draws"),
    number(Drawn(dimensions=1000), 32, "greater", "in 1000 dimensions"),
    number(Drawn(dimensions=1000), 32, "less", "in 1000 dimensions"),
    number(Drawn(batch=4, draws=100), 400, "less", "100 times the batch size"),
    number(Drawn(batch=4, draws=100), 400, "greater", "100 times the batch size"),
    infinite(Drawn(), "|G|² is 0"),
    infinite(Drawn(dimensions=3), "|G|² is 0, 3 dimensions"),
    infinite(Drawn(dimensions=1000), "|G|² is 0, 1000 dimensions"),
    infinite(Drawn(), "|G|² below 0", -0.005),
    Kind("noise scales 19.7 to 56.7, batches of 4, below 19.6", issue),
    two(Drawn(), "less", ""),
    two(Drawn(), "greater", ""),
    two(Drawn(batch=4, draws=100), "less", " of 400, batches of 4", 400.0),
    Kind("noise scales of two, both infinite, less", two_infinite),
    Kind("noise scales of two, equal", equal, EQUALITY),
    growth(Drawn(), "greater", 16.0),
    growth(Drawn(), "less", 128.0),
    growth(Drawn(batch=4, draws=100), "greater", 400.0),
    averaged("less"),
    averaged("greater"),
    Kind("mean of two noise scales, one infinite, less", averaged_infinite),
)

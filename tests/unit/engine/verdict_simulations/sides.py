"""Sides of a comparison with drawn values, and claims on them, judged as those of a sweep are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from batchscope.engine.analysis.ratio_estimate import Quotient
from batchscope.engine.findings import claim_verdicts
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.missing_values import unknown_values
from batchscope.engine.spec import Claim

Random = np.random.Generator
Relation = Literal["greater", "less", "equal"]
DIRECTION, EQUALITY = 0.025, 0.05
ALLOWED = {DIRECTION: 0.033, EQUALITY: 0.065}
"""The most that a false "supported" may occur in 2,000 simulations, by the level that is stated."""


@dataclass(frozen=True)
class Kind:
    """A kind of measure.

    `draw` returns the verdict on one simulated claim of so many seeds: a false claim, or one that
    is true by a clear effect.
    """

    name: str
    draw: Callable[[Random, int, bool], Verdict]
    stated: float = DIRECTION
    seeds: tuple[int, ...] = (3, 5, 10, 24)


def side(
    values: Mapping[int, float] | Sequence[float] | Any,
    *,
    name: str = "x 1",
    measure: str = "test_loss",
    start: bytes = b"",
    floor: float = 0.0,
    bounds: Mapping[int, float] | None = None,
    diverged: int = 0,
    lacking: int = 0,
    ratios: tuple[Quotient, ...] = (),
) -> Side:
    """A side with these values by seed; the others missed a target, diverged or lack a value."""
    known = {
        int(seed): float(value)
        for seed, value in (values.items() if isinstance(values, Mapping) else enumerate(values))
    }
    bounds = dict(bounds or {})
    finished = len(known) + len(bounds) + lacking
    missing = len(bounds) + lacking
    return Side(
        name,
        measure,
        known,
        finished + diverged,
        finished,
        frozenset(f"lost{at}" for at in range(diverged)),
        0,
        frozenset({start}),
        floor,
        bounds=bounds,
        ended=finished,
        lacking=frozenset(f"lacks{at}" for at in range(missing)),
        diverged=diverged,
        ratios=ratios,
        unknown=unknown_values(measure, diverged, missing, 0),
    )


def until(values: Any, budget: float, floor: float = 0.0, start: bytes = b"") -> Side:
    """Steps to a target: a seed that would need more than the budget misses it."""
    steps = dict(enumerate(map(float, values)))
    return side(
        {seed: value for seed, value in steps.items() if value <= budget},
        measure="steps_to_target",
        bounds={seed: budget for seed, value in steps.items() if value > budget},
        floor=floor,
        start=start,
    )


def between(relation: Relation, left: Side, right: Side, *, within: float | None = None) -> Verdict:
    """The verdict on a claim about two sides."""
    claim = Claim(
        statement="s", measure=left.measure, relation=relation, left={}, right={}, within=within
    )
    return claim_verdicts._comparison(claim, left, right)


def beside(relation: Relation, left: Side, value: float, *, within: float | None = None) -> Verdict:
    """The verdict on a claim about a side and a number."""
    claim = Claim(
        statement="s", measure=left.measure, relation=relation, value=value, within=within
    )
    return claim_verdicts._beside(claim, left, value)


def share(kind: Kind, n: int, rounds: int, true: bool = False) -> float:
    """How often a claim of this kind is supported, in so many simulations of `n` seeds."""
    random = np.random.default_rng([24, n, true, *kind.name.encode()])
    return sum(kind.draw(random, n, true).verdict == "supported" for _ in range(rounds)) / rounds

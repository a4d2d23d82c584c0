"""Several claims of a preset that are all false: how often any of them gets a false verdict."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace

from batchscope.engine.findings.claim_verdicts import Verdict, together
from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.decisions import direction
from batchscope.engine.findings.effects import effect_between
from batchscope.engine.findings.trend_test import reversal
from tests.unit.engine.verdict_simulations.means import BUDGET
from tests.unit.engine.verdict_simulations.sides import Random, between, side, until

ALLOWED = 0.065
MARGIN = 1.0
Family = Callable[[Random, int], list[Verdict]]


def trend(levels: Sequence[Side]) -> Verdict:
    """The verdict on a rise over these levels."""
    effect = effect_between(levels[-1], levels[0])
    if effect is None:
        return Verdict(statement="s", measure="test_loss")
    decision = direction(effect, 1)
    gap = reversal(levels, 1) if decision.word == "supported" else ""
    return Verdict(
        statement="s",
        measure="test_loss",
        verdict="undetermined" if gap else decision.word,
        p=None if gap else decision.p,
        method="paired t",
    )


def independent(random: Random, n: int) -> list[Verdict]:
    """Five claims of a direction."""
    return [
        between("greater", side(random.normal(0, 1, n)), side(random.normal(0, 1, n)))
        for _ in range(5)
    ]


def mixed(random: Random, n: int) -> list[Verdict]:
    """Two directions, two equalities at their margin, one flat trend; all share a side."""
    left = side(random.normal(0, 1, n))
    near = [side(random.normal(0, 1, n)) for _ in range(2)]
    far = [side(random.normal(MARGIN, 0.3, n)) for _ in range(2)]
    levels = [left, *(side(random.normal(0, 1, n)) for _ in range(3))]
    return [
        *(between("less", left, each) for each in near),
        *(between("equal", left, each, within=MARGIN) for each in far),
        trend(levels),
    ]


def dependent(random: Random, n: int) -> list[Verdict]:
    """Five claims about the same two sides, with measures that hardly differ."""
    left, right = random.normal(0, 1, (2, n))
    return [
        between(
            "greater",
            side(left + random.normal(0, 0.3, n)),
            side(right + random.normal(0, 0.3, n)),
        )
        for _ in range(5)
    ]


def censored(random: Random, n: int) -> list[Verdict]:
    """Five claims on steps to a target that a third of the seeds miss on one side."""
    return [
        between(
            "greater",
            until(random.normal(1000, 200, n), BUDGET),
            until(random.normal(1000, 200, n), 1e9),
        )
        for _ in range(5)
    ]


def trends(random: Random, n: int) -> list[Verdict]:
    """Five flat trends over four levels."""
    return [trend([side(random.normal(0, 1, n)) for _ in range(4)]) for _ in range(5)]


def awaited(random: Random, n: int) -> list[Verdict]:
    """Three claims are judged, two wait for trials."""
    waiting = Verdict(statement="s", measure="test_loss", provisional=True)
    return [replace(each, provisional=True) for each in independent(random, n)[:3]] + [waiting] * 2


FAMILIES: dict[str, Family] = {
    "five directions": independent,
    "directions, equalities, a trend on one side": mixed,
    "five measures of the same seeds": dependent,
    "five with missed targets": censored,
    "five flat trends": trends,
    "three, and two that are awaited": awaited,
}


def erred(family: Family, n: int, rounds: int, correction: str = "holm") -> float:
    """How often any of the claims is supported or, if it is one of no effect, contradicted.

    At its margin an equality is false only where it is supported.
    """
    random = np.random.default_rng([5, n, *family.__name__.encode()])
    count = 0
    for _ in range(rounds):
        found = together(family(random, n), "holm" if correction == "holm" else "none")
        count += any(
            each.verdict == "supported" or (each.verdict == "contradicted" and each.level < 0.1)
            for each in found
        )
    return count / rounds

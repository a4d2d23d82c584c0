"""Judges the claims of a sweep: supported, contradicted or undetermined, never an error.

The level is 0.05, two-sided. Two sides are compared over the seeds that they share where a seed
gives both the same initial weights and data order (paired t), else by Welch's t; one side and a
number by a one-sample t. Trials that diverged or failed are left out and counted; only finished
ones count, so that a verdict is provisional while others are to come.
"""

from itertools import pairwise
from typing import Literal

from msgspec import Struct

from engine.findings.probed import NAMES, Spot, ladder_within
from engine.findings.sides import Side, above, difference, gather, share_seeds
from engine.findings.statistics import LEVEL, Estimate, equality_p, holm, interval, p_value
from engine.selecting import Ladder, ladder, picked
from engine.spec import Claim
from engine.state import SweepState

Word = Literal["supported", "contradicted", "undetermined"]
Method = Literal["paired t", "Welch's t", "one-sample t", ""]
EVERY = "all configurations"


class Verdict(Struct, frozen=True, kw_only=True):
    """What the seeds say of a claim; `effect` is left − right, or last − first of a trend.

    Where the claim gives a value, `effect` is left − value.

    `low` and `high` are its interval of coverage 1 − `level`, `n` the seeds behind it, `excluded`
    the trials that diverged or failed.
    """

    statement: str
    verdict: Word = "undetermined"
    measure: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    method: Method = ""
    excluded: int = 0
    provisional: bool = False
    reason: str = ""


def judge(state: SweepState) -> list[Verdict]:
    """A verdict on every claim, in the order of the preset."""
    claims = state.opened.claims if state.opened else ()
    return [_judged(state, claim) for claim in claims]


def _judged(state: SweepState, claim: Claim) -> Verdict:
    configurations = list(state.configurations.values())
    if claim.over in NAMES:
        rungs = ladder_within(state, claim.over, claim.at_share)
        return _trend(state, claim, NAMES[claim.over], rungs)
    if claim.over is not None:
        key = claim.over.split(".", 1)[1]
        return _trend(state, claim, key, ladder(claim.over, configurations))
    left = configurations if claim.left is None else picked(claim.left, configurations)
    spot = Spot(at_share=claim.at_share)
    side = gather(state, claim.measure, left, "" if claim.left else EVERY, spot)
    if claim.value is not None:
        return _beside(claim, side, claim.value)
    right = gather(state, claim.measure, picked(claim.right or {}, configurations), spot=spot)
    return _comparison(claim, side, right)


def _comparison(claim: Claim, left: Side, right: Side) -> Verdict:
    thin = [side for side in (left, right) if side.thin]
    found = None if thin else difference(left, right)
    if found is None:
        lacks = [side.lack() for side in thin] or ["the two sides share fewer than 2 seeds"]
        return _verdict(claim, [left, right], reason="; ".join(lacks))
    word, reason = _related(claim, found)
    return _verdict(claim, [left, right], found, word, reason, _method(left, right))


def _beside(claim: Claim, left: Side, value: float) -> Verdict:
    """One side and a number."""
    found = above(left, value)
    if found is None:
        return _verdict(claim, [left], reason=left.lack())
    word, reason = _related(claim, found)
    return _verdict(claim, [left], found, word, reason, "one-sample t")


def _related(claim: Claim, found: Estimate) -> tuple[Word, str]:
    if claim.relation == "equal":
        return equality(found, claim.within or 0.0)
    return direction(found, 1 if claim.relation == "greater" else -1)


def direction(found: Estimate, sign: int) -> tuple[Word, str]:
    """Whether an effect has a sign, by whether its interval excludes 0; and why not."""
    p = p_value(found)
    if p is None or found.effect == 0:
        return "undetermined", "the means do not differ at all"
    if p >= LEVEL:
        return "undetermined", f"the seeds do not tell it from none (p = {p:.2g})"
    if found.effect * sign > 0:
        return "supported", ""
    return "contradicted", "the difference goes the other way"


def equality(found: Estimate, within: float) -> tuple[Word, str]:
    """Two one-sided tests: supported where the interval of coverage 1 − 2 × level is inside."""
    if equality_p(found, within) < LEVEL:
        return "supported", ""
    low, high = interval(found)
    if low > within or high < -within:
        return "contradicted", "they lie further apart than that"
    return "undetermined", "the seeds leave room for a difference larger than that"


def _trend(state: SweepState, claim: Claim, key: str, rungs: Ladder) -> Verdict:
    within = claim.over in NAMES
    sides = []
    for level, members in rungs.levels.items():
        spot = Spot(level if within else None, claim.at_share)
        sides.append(gather(state, claim.measure, members, f"{key} {level:g}", spot))
    remarks = [side.lack() for side in sides if side.thin and not side.pending]
    if rungs.aside and len(sides) > 1:
        remarks.append(_left_aside(key, len(rungs.aside), within))
    awaited = [side.lack() for side in sides if side.thin and side.pending]
    if len(sides) < 2:
        return _verdict(
            claim, sides, reason=f"{key} has {'one level only' if sides else 'no level'}"
        )
    if awaited:
        return _verdict(claim, sides, reason=awaited[0])
    usable = [side for side in sides if not side.thin]
    found = difference(usable[-1], usable[0]) if len(usable) > 1 else None
    if found is None:
        return _verdict(claim, sides, reason="; ".join(remarks) or "too few seeds in common")
    word, reason = climb(found, steps_of(usable), 1 if claim.trend == "increasing" else -1)
    told = "; ".join(part for part in (reason, *remarks) if part)
    return _verdict(claim, sides, found, word, told, _method(usable[-1], usable[0]))


def _left_aside(key: str, count: int, within: bool) -> str:
    one = count == 1
    many = f"{count} {'configuration' if one else 'configurations'}"
    if within:
        return f"{many} {'was' if one else 'were'} probed at other levels and left aside"
    return f"{many} {'differs' if one else 'differ'} in more than {key} and left aside"


def steps_of(sides: list[Side]) -> list[tuple[str, Estimate]]:
    """The change from each level to the next, with the names of both."""
    found = []
    for lower, upper in pairwise(sides):
        change = difference(upper, lower)
        if change is not None:
            found.append((f"from {lower.name} to {upper.name.split()[-1]}", change))
    return found


def climb(ends: Estimate, steps: list[tuple[str, Estimate]], sign: int) -> tuple[Word, str]:
    """A trend: its ends differ the claimed way, and no step goes significantly the other way.

    The steps are several comparisons, so their p values are adjusted (Holm 1979).
    """
    word, reason = direction(ends, sign)
    if word != "supported":
        return word, reason
    known = [p_value(change) for _, change in steps]
    adjusted = holm([1.0 if p is None else p for p in known])
    for (name, change), p in zip(steps, adjusted, strict=True):
        if p < LEVEL and change.effect * sign < 0:
            return "undetermined", f"the ends differ as claimed, but {name} it turns back"
    return "supported", ""


def _method(one: Side, other: Side) -> Method:
    return "paired t" if share_seeds(one, other) else "Welch's t"


def _verdict(
    claim: Claim,
    sides: list[Side],
    found: Estimate | None = None,
    word: Word = "undetermined",
    reason: str = "",
    method: Method = "",
) -> Verdict:
    low, high = interval(found) if found else (None, None)
    return Verdict(
        statement=claim.statement,
        verdict=word,
        measure=claim.measure,
        effect=found.effect if found else None,
        low=low,
        high=high,
        n=found.n if found else min((len(side.values) for side in sides), default=0),
        method=method,
        excluded=len({trial for side in sides for trial in side.lost}),
        provisional=any(side.pending for side in sides),
        reason=reason,
    )

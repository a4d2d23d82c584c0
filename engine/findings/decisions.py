"""Decides on one claim from its effect, and holds a verdict back that missing values could undo."""

from typing import Literal

from msgspec import Struct

from batchscope.engine.analysis.ratio_estimate import RatioDifference
from batchscope.engine.analysis.statistics import LEVEL, p_value
from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.effects import Effect, MeanDifference, sign_of
from batchscope.engine.metrics.trial_registry import TO_TARGET
from batchscope.engine.spec import Claim

Word = Literal["supported", "contradicted", "undetermined"]


class Decision(Struct, frozen=True):
    """What the test of an effect says: the word, its p value, and why it is not "supported"."""

    word: Word
    p: float | None
    reason: str = ""


def decide(claim: Claim, effect: Effect) -> Decision:
    """Judge the effect of a claim by itself, whatever other claims there are."""
    if claim.relation == "equal":
        return equality(effect, claim.within or 0.0)
    greater = claim.relation == "greater" or claim.trend == "increasing"
    return direction(effect, 1 if greater else -1)


def direction(effect: Effect, sign: int) -> Decision:
    """Judge whether an effect has the claimed sign, by whether its 95 % interval excludes 0.

    Args:
        effect: the effect with its tests.
        sign: the claimed sign, 1 or −1.
    """
    p, leans = effect.p_value(), sign_of(effect)
    if p is None or (leans == 0 and effect.effect is not None):
        return Decision("undetermined", 1.0, "the effect is exactly zero")
    if p >= LEVEL:
        return Decision("undetermined", p, _not_significant(effect, p))
    if leans * sign > 0:
        return Decision("supported", p)
    return Decision("contradicted", p, "the effect has the opposite sign")


def _not_significant(effect: Effect, p: float) -> str:
    """Return a sentence: the effect is not significant, and what raised its p value if anything."""
    if not isinstance(effect, MeanDifference | RatioDifference):
        alone = p_value(effect.estimate)
        if alone is not None and alone < LEVEL:
            return f"p = {alone:.2g} by a t test alone, but {p:.2g} {effect.doubt()}"
    return f"the seeds cannot distinguish the effect from zero (p = {p:.2g})"


def equality(effect: Effect, within: float) -> Decision:
    """Judge equality within a tolerance by two one-sided tests (TOST).

    It is supported if the 90 % interval lies inside ±`within`, and contradicted if the 95 %
    interval lies outside.

    Args:
        effect: the difference with its tests.
        within: the largest difference that still counts as equal, in the unit of the measure.
    """
    inside, outside = effect.equality_p(within), effect.beyond_p(within)
    p = min(inside, outside)
    if inside < LEVEL:
        return Decision("supported", inside)
    if outside < LEVEL:
        return Decision("contradicted", outside, "the difference is larger than the claim allows")
    return Decision("undetermined", p, "the difference may be larger than the claim allows")


def held_back(
    decision: Decision, effect: Effect, equal: bool, left: Side, right: Side | None = None
) -> str:
    """Return why values that are missing leave a claim undetermined; empty if they cannot undo it.

    A difference above 0 would be smaller with a left value below, or a right value above, those
    that are known. Equality could be undone by any of them.

    Args:
        decision: what the known values say.
        effect: the effect of the known values.
        equal: whether the claim is one of equality.
        left, right: the sides; without `right`, left is compared with a number.
    """
    if decision.word == "undetermined":
        censored = [side for side in (left, right) if side is not None and side.censored]
        return "; ".join(map(unknown_values_text, censored))
    sign = sign_of(effect)
    undone: list[Side] = []
    for side, place in ((left, sign), (right, -sign)):
        if side is None or not side.unknown:
            continue
        if (equal and decision.word == "supported") or may_be(side, -place):
            undone.append(side)
    return "; ".join(dict.fromkeys(map(unknown_values_text, undone)))


def may_be(side: Side, place: int) -> bool:
    """Return whether unknown values of a side may be above (1) or below (−1) the known ones."""
    return ("above" if place > 0 else "below") in side.unknown


def unknown_values_text(side: Side) -> str:
    """Return a sentence that says which values of a side are not known."""
    if side.measure in TO_TARGET and side.lacking:
        return f"{side.missed()}, so how many more {side.measure.split('_')[0]} it takes is unknown"
    if side.diverged and not side.lacking:
        return f"{side.name}: trials diverged, and with them the verdict could be another"
    return f"{side.name}: seeds without {side.measure} could make the verdict another"

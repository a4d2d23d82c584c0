"""Judges the claims of a sweep: supported, contradicted or undetermined, never an error.

The level is 0.05, two-sided. Two sides are compared over the seeds that they share where a seed
gives both the same initial weights and data order (paired t), else by Welch's t; one side and a
number by a one-sample t. Trials that diverged or failed are left out and counted; only finished
ones count, so that a verdict is provisional while others are to come. An average over several
configurations is judged only where each of them has values.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.probe_levels import ladder_within
from batchscope.engine.analysis.stack_times import PEAK, TIMED, stack_caution
from batchscope.engine.analysis.statistics import LEVEL, Estimate, equality_p, interval, p_value
from batchscope.engine.experiment.selectors import Ladder, ladder
from batchscope.engine.findings.comparison_sides import Side, above, difference, gather, share_seeds
from batchscope.engine.findings.selected_candidates import Looked, looked_at, selected_keys
from batchscope.engine.findings.trend_series import Gathered, levels_of
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.probe_values import NAMES
from batchscope.engine.spec import Claim

Word = Literal["supported", "contradicted", "undetermined"]
Method = Literal["paired t", "Welch's t", "one-sample t", ""]
Timing = Literal["alone", "shared", ""]
EVERY = "all configurations"


class Verdict(Struct, frozen=True, kw_only=True):
    """What the seeds say of a claim; `effect` is left − right, or last − first of a trend.

    Where the claim gives a value, `effect` is left − value.

    `low` and `high` are its interval of coverage 1 − `level`, `n` the seeds behind it, `excluded`
    the trials that diverged or failed. `timing` tells of a time or a pace whether anything else
    of the sweep ran beside one of the configurations looked at; of other measures it is empty.
    `caution` is what to beware of: replicates that share their time, or their memory. Of times `n`
    counts stacks.
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
    timing: Timing = ""
    caution: str = ""


def judge(state: SweepState) -> list[Verdict]:
    """A verdict on every claim, in the order of the preset."""
    claims = state.opened.claims if state.opened else ()
    return [_judged(state, claim) for claim in claims]


def _judged(state: SweepState, claim: Claim) -> Verdict:
    if claim.over is not None:
        return _along(state, claim, claim.over)
    spot = Spot(at_share=claim.at_share, epsilon=claim.epsilon)
    sides, lacks = [], []
    for selector in (claim.left,) if claim.value is not None else (claim.left, claim.right or {}):
        looked = looked_at(state, selector)
        at = looked.asked if looked.lack else looked.configurations
        sides.append(gather(state, claim.measure, at, EVERY if selector is None else "", spot))
        lacks += [looked.lack] if looked.lack else []
    if lacks:
        return _verdict(claim, sides, reason="; ".join(dict.fromkeys(lacks)))
    if claim.value is not None:
        return _beside(claim, sides[0], claim.value)
    left, right = sides
    return _comparison(claim, left, right)


def _along(state: SweepState, claim: Claim, over: str) -> Verdict:
    """A trend over what was chosen, or over what is chosen among."""
    tuned = selected_keys(state)
    looked = looked_at(state)
    if over in tuned:
        looked, tuned = Looked(looked.asked, looked.asked), ()
    if looked.open or not looked.configurations:
        everything = gather(state, claim.measure, looked.asked)
        return _verdict(claim, [everything], reason=looked.lack)
    if over in NAMES:
        name = NAMES[over]
        rungs = ladder_within(state, over, claim.at_share, looked.configurations)
    else:
        name = over.split(".", 1)[1]
        rungs = ladder(over, looked.configurations, tuned)
    verdict = _trend(state, claim, name, rungs)
    reason = "; ".join(part for part in (verdict.reason, looked.lack) if part)
    return replace(verdict, reason=reason)


def _comparison(claim: Claim, left: Side, right: Side) -> Verdict:
    thin = [side for side in (left, right) if side.thin]
    mixed = _mixed(claim.measure, [left, right])
    estimate = None if thin or mixed else difference(left, right)
    if estimate is None:
        apart = mixed or "the two sides share fewer than 2 seeds"
        lacks = [side.lack() for side in thin] or [apart]
        return _verdict(claim, [left, right], reason="; ".join(dict.fromkeys(lacks)))
    word, reason = _related(claim, estimate)
    return _verdict(claim, [left, right], estimate, word, reason, _method(left, right))


def _beside(claim: Claim, left: Side, value: float) -> Verdict:
    """One side and a number."""
    mixed = _mixed(claim.measure, [left])
    estimate = None if mixed else above(left, value)
    if estimate is None:
        return _verdict(claim, [left], reason=left.lack() if left.thin else mixed)
    word, reason = _related(claim, estimate)
    return _verdict(claim, [left], estimate, word, reason, "one-sample t")


def _related(claim: Claim, estimate: Estimate) -> tuple[Word, str]:
    if claim.relation == "equal":
        return equality(estimate, claim.within or 0.0)
    return direction(estimate, 1 if claim.relation == "greater" else -1)


def direction(estimate: Estimate, sign: int) -> tuple[Word, str]:
    """Whether an effect has a sign, by whether its interval excludes 0; and why not."""
    p = p_value(estimate)
    if p is None or estimate.effect == 0:
        return "undetermined", "the means do not differ at all"
    if p >= LEVEL:
        return "undetermined", f"the seeds do not tell it from none (p = {p:.2g})"
    if estimate.effect * sign > 0:
        return "supported", ""
    return "contradicted", "the difference goes the other way"


def equality(estimate: Estimate, within: float) -> tuple[Word, str]:
    """Two one-sided tests: supported where the interval of coverage 1 − 2 × level is inside."""
    if equality_p(estimate, within) < LEVEL:
        return "supported", ""
    low, high = interval(estimate)
    if low > within or high < -within:
        return "contradicted", "they lie further apart than that"
    return "undetermined", "the seeds leave room for a difference larger than that"


def _trend(state: SweepState, claim: Claim, key: str, rungs: Ladder) -> Verdict:
    levels = levels_of(state, claim, key, rungs)
    if len(rungs.levels) < 2:
        reason = f"{key} has {'one level only' if rungs.levels else 'no level'}"
        return _on_levels(claim, levels, reason)
    if levels.awaited:
        return _on_levels(claim, levels, levels.awaited)
    usable = [side for side in levels.sides if not side.thin]
    mixed = _mixed(claim.measure, usable)
    if mixed:
        return _on_levels(claim, levels, "; ".join((mixed, *levels.remarks)))
    estimate = difference(usable[-1], usable[0]) if len(usable) > 1 else None
    if estimate is None:
        return _on_levels(claim, levels, "; ".join(levels.remarks) or "too few seeds in common")
    word, reason = climb(estimate, changes(usable), 1 if claim.trend == "increasing" else -1)
    reason = "; ".join(part for part in (reason, *levels.remarks) if part)
    return _verdict(
        claim,
        levels.sides,
        estimate,
        word,
        reason,
        _method(usable[-1], usable[0]),
        levels.lost,
    )


def _on_levels(claim: Claim, levels: Gathered, reason: str) -> Verdict:
    """Undetermined, for this reason."""
    return _verdict(claim, levels.sides, reason=reason, lost=levels.lost)


def changes(sides: Sequence[Side]) -> Iterator[tuple[str, Estimate]]:
    """The change from each level to each later one, with the names of both."""
    for lower, upper in combinations(sides, 2):
        change = difference(upper, lower)
        if change is not None:
            yield f"from {lower.name} to {upper.name.split()[-1]}", change


def climb(ends: Estimate, changed: Iterable[tuple[str, Estimate]], sign: int) -> tuple[Word, str]:
    """A trend: its ends differ the claimed way, and no change is significantly the other way.

    Changes are those between any two levels, each judged on its own: to adjust them for their
    number would hide reversals. What could support a trend by chance is its ends alone, which are
    one comparison.
    """
    word, reason = direction(ends, sign)
    if word != "supported":
        return word, reason
    ps = [(p_value(change), name) for name, change in changed if change.effect * sign < 0]
    back = min(((p, name) for p, name in ps if p is not None and p < LEVEL), default=None)
    if back is not None:
        return "undetermined", f"the ends differ as claimed, but {back[1]} it turns back"
    return "supported", ""


def _method(one: Side, other: Side) -> Method:
    return "paired t" if share_seeds(one, other) else "Welch's t"


def _verdict(
    claim: Claim,
    sides: Sequence[Side],
    estimate: Estimate | None = None,
    word: Word = "undetermined",
    reason: str = "",
    method: Method = "",
    lost: frozenset[str] = frozenset(),
) -> Verdict:
    """`lost` are trials that diverged or failed and belong to no side."""
    low, high = interval(estimate) if estimate else (None, None)
    return Verdict(
        statement=claim.statement,
        verdict=word,
        measure=claim.measure,
        effect=estimate.effect if estimate else None,
        low=low,
        high=high,
        n=estimate.n if estimate else min((len(side.values) for side in sides), default=0),
        method=method,
        excluded=len(lost.union(*(side.lost for side in sides))),
        provisional=any(side.pending for side in sides),
        reason=reason,
        timing=_timing(claim.measure, sides),
        caution=_caution(claim.measure, sides),
    )


def _timing(measure: str, sides: Sequence[Side]) -> Timing:
    if measure not in TIMED or not sides:
        return ""
    return "shared" if any(side.shared for side in sides) else "alone"


def _caution(measure: str, sides: Sequence[Side]) -> str:
    what = "time" if measure in TIMED else "peak" if measure == PEAK else ""
    return stack_caution(_sizes(sides), what) if what else ""


def _mixed(measure: str, sides: Sequence[Side]) -> str:
    """Why times or peaks do not compare: of stacks of several sizes. Empty where they do."""
    return _caution(measure, sides) if len(_sizes(sides)) > 1 else ""


def _sizes(sides: Sequence[Side]) -> frozenset[int]:
    return frozenset[int]().union(*(side.stacks for side in sides))

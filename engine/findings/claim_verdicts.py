"""Judges the claims of a sweep: each is supported, contradicted or undetermined.

All tests are two-sided at level 0.05.

- Two sides: a paired t-test over the shared seeds if a seed gives both sides the same initial
  weights and data order; otherwise Welch's t-test.
- One side and a number: a one-sample t-test.

Only finished trials count, so a verdict is provisional while other trials are open. Trials that
diverged or failed are left out and counted. An average over several configurations is judged only
if each of them has values.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.probe_levels import ladder_within
from batchscope.engine.analysis.stack_times import TIMED, stack_caution
from batchscope.engine.analysis.statistics import LEVEL, Estimate, equality_p, interval, p_value
from batchscope.engine.experiment.selectors import Ladder, ladder
from batchscope.engine.findings.comparison_sides import Side, above, difference, gather, share_seeds
from batchscope.engine.findings.selected_candidates import Looked, looked_at, selected_keys
from batchscope.engine.findings.trend_series import Gathered, levels_of
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import spot_of
from batchscope.engine.metrics.probe_values import NAMES
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.spec import Claim

Word = Literal["supported", "contradicted", "undetermined"]
Method = Literal["paired t", "Welch's t", "one-sample t", ""]
Timing = Literal["alone", "shared", ""]
EVERY = "all configurations"
SHARED = "fewer than 2 seeds finished at both ends"


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one claim, with the estimated effect behind it.

    Attributes:
        statement: the claim, as the preset words it.
        verdict: supported, contradicted or undetermined.
        measure: the measure that is compared.
        effect: left − right, left − value, or last − first level of a trend; in the unit of the
            measure. None if nothing could be compared.
        low, high: confidence interval of the effect, with coverage 1 − `level`.
        level: significance level.
        n: number of seeds behind the effect; for times, the number of stacks.
        method: the test that was used; empty if none was.
        excluded: number of trials that diverged or failed.
        provisional: whether open trials may still change the verdict.
        reason: why the verdict is not "supported", and what was left out.
        timing: for times and throughputs, "shared" if other trials of the sweep ran at the same
            time as one of these configurations, else "alone"; empty for other measures.
        caution: a warning if replicates shared their time or memory.
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
    """Return the verdict on every claim, in the order of the preset."""
    claims = state.opened.claims if state.opened else ()
    return [_judged(state, claim) for claim in claims]


def _judged(state: SweepState, claim: Claim) -> Verdict:
    if claim.over is not None:
        return _along(state, claim, claim.over)
    spot = spot_of(claim)
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
    """Judge a trend over the configurations that `[select]` chose, or over its candidates."""
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
        apart = mixed or "fewer than 2 seeds finished on both sides"
        lacks = [side.lack() for side in thin] or [apart]
        return _verdict(claim, [left, right], reason="; ".join(dict.fromkeys(lacks)))
    word, reason = _related(claim, estimate)
    return _verdict(claim, [left, right], estimate, word, reason, _method(left, right))


def _beside(claim: Claim, left: Side, value: float) -> Verdict:
    """Judge a claim that compares the mean of one side with a number, by a one-sample t test."""
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
    """Judge whether an effect has the claimed sign, by whether its interval excludes 0.

    Args:
        estimate: the effect with its standard error.
        sign: the claimed sign, 1 or −1.

    Returns:
        The verdict, and the reason if it is not "supported".
    """
    p = p_value(estimate)
    if p is None or estimate.effect == 0:
        return "undetermined", "the effect is exactly zero"
    if p >= LEVEL:
        return "undetermined", f"the seeds cannot distinguish the effect from zero (p = {p:.2g})"
    if estimate.effect * sign > 0:
        return "supported", ""
    return "contradicted", "the effect has the opposite sign"


def equality(estimate: Estimate, within: float) -> tuple[Word, str]:
    """Judge equality within a tolerance by two one-sided tests (TOST).

    It is supported if the interval of coverage 1 − 2 × level lies inside ±`within`.

    Args:
        estimate: the difference with its standard error.
        within: the largest difference that still counts as equal, in the unit of the measure.

    Returns:
        The verdict, and the reason if it is not "supported".
    """
    if equality_p(estimate, within) < LEVEL:
        return "supported", ""
    low, high = interval(estimate)
    if low > within or high < -within:
        return "contradicted", "the difference is larger than the claim allows"
    return "undetermined", "the difference may be larger than the claim allows"


def _trend(state: SweepState, claim: Claim, key: str, rungs: Ladder) -> Verdict:
    levels = levels_of(state, claim, key, rungs)
    if len(rungs.levels) < 2:
        reason = f"{key} has {'only one level' if rungs.levels else 'no level'}; a trend needs two"
        return _on_levels(claim, levels, reason)
    if levels.awaited:
        return _on_levels(claim, levels, levels.awaited)
    usable = [side for side in levels.sides if not side.thin]
    mixed = _mixed(claim.measure, usable)
    if mixed:
        return _on_levels(claim, levels, "; ".join((mixed, *levels.remarks)))
    estimate = difference(usable[-1], usable[0]) if len(usable) > 1 else None
    if estimate is None:
        return _on_levels(claim, levels, "; ".join(levels.remarks) or SHARED)
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
    """Return an undetermined verdict with this reason."""
    return _verdict(claim, levels.sides, reason=reason, lost=levels.lost)


def changes(sides: Sequence[Side]) -> Iterator[tuple[str, Estimate]]:
    """Yield the change from each level to each later one, with the names of both levels."""
    for lower, upper in combinations(sides, 2):
        change = difference(upper, lower)
        if change is not None:
            yield f"from {lower.name} to {upper.name.split()[-1]}", change


def climb(ends: Estimate, changed: Iterable[tuple[str, Estimate]], sign: int) -> tuple[Word, str]:
    """Judge a trend: its ends differ as claimed, and no change is significantly the other way.

    Each change between two levels is tested without adjusting for their number, which would hide
    reversals. Only the comparison of the ends can support a trend by chance, and that is one test.

    Args:
        ends: last − first level.
        changed: later − earlier level for any two levels, with their names.
        sign: the claimed sign of the trend, 1 or −1.

    Returns:
        The verdict, and the reason if it is not "supported".
    """
    word, reason = direction(ends, sign)
    if word != "supported":
        return word, reason
    ps = [(p_value(change), name) for name, change in changed if change.effect * sign < 0]
    back = min(((p, name) for p, name in ps if p is not None and p < LEVEL), default=None)
    if back is not None:
        return "undetermined", f"the ends differ as claimed, but the trend reverses {back[1]}"
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
    """Build the verdict on a claim.

    Args:
        claim: the claim that is judged.
        sides: what was compared.
        estimate: the effect; None if nothing could be compared.
        word: the verdict.
        reason: why it is not "supported".
        method: the test that was used.
        lost: trials that diverged or failed and belong to none of the sides.
    """
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
    metric = TRIAL.get(measure)
    return stack_caution(_sizes(sides), metric.stack) if metric and metric.stack else ""


def _mixed(measure: str, sides: Sequence[Side]) -> str:
    """Return why times or peaks of different stack sizes do not compare; empty if they do."""
    return _caution(measure, sides) if len(_sizes(sides)) > 1 else ""


def _sizes(sides: Sequence[Side]) -> frozenset[int]:
    return frozenset[int]().union(*(side.stacks for side in sides))

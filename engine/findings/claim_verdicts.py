"""Judges the claims of a sweep: each is supported, contradicted or undetermined.

- Two sides: a paired t-test over the shared seeds if a seed gives both sides the same initial
  weights and data order; otherwise Welch's t-test. Two-sided at level 0.05.
- One side and a number: a one-sample t-test, two-sided at level 0.05.
- Equality: two one-sided t-tests at level 0.05 (TOST).
- A trend: its ends as two sides, and no level may reverse it (`trend_test`).
- Noise scales: Fieller's intervals in place of the t-tests (`engine.analysis.ratio_estimate`).

The p values of all claims are adjusted for their number (Holm 1979), unless the preset says
otherwise, and the adjusted ones decide.

Only finished trials count, so a verdict is provisional while other trials are open. Trials that
diverged or failed are left out and counted. Where values are missing that could speak against a
verdict (`missing_values`), the claim is undetermined. An average over several configurations is
judged only if each of them has values.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.probe_levels import ladder_within
from batchscope.engine.analysis.stack_times import TIMED, stack_caution
from batchscope.engine.analysis.statistics import LEVEL
from batchscope.engine.experiment.selectors import Ladder, ladder
from batchscope.engine.findings.comparison_sides import Side, gather, share_seeds
from batchscope.engine.findings.decisions import Decision, Word, decide, held_back
from batchscope.engine.findings.effects import Effect, effect_above, effect_between, sign_of
from batchscope.engine.findings.multiplicity import Correction, adjusted
from batchscope.engine.findings.selected_candidates import Looked, looked_at, selected_keys
from batchscope.engine.findings.trend_series import Gathered, levels_of
from batchscope.engine.findings.trend_test import reversal, series_gaps, trend_gaps, unbounded
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import spot_of
from batchscope.engine.metrics.probe_values import NAMES
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.metrics.trial_registry import TO_TARGET
from batchscope.engine.spec import Claim, Judging

Method = Literal["paired t", "Welch's t", "one-sample t", "Fieller", "rank sum", "sign test", ""]
Timing = Literal["alone", "shared", ""]
EVERY = "all configurations"
INFINITE = float("inf")
SHARED = "fewer than 2 seeds finished at both ends"
EQUAL_LEVEL = 2 * LEVEL
"""1 − the coverage of the interval that decides on equality: two one-sided tests (TOST)."""


class SeedValues(Struct, frozen=True, kw_only=True):
    """The values behind one side of a claim, or behind one level of a trend.

    Attributes:
        name: the configurations, in words.
        values: the value of each seed, by its number.
        above: seeds that missed their target: their value is above this number.
        without_value: ids of the finished trials without a value of their own.
        excluded: ids of the trials that diverged or failed.
        collapsed: ids of the trials that collapsed (`engine.metrics.collapse`).
    """

    name: str
    values: dict[str, float] = {}
    above: dict[str, float] = {}
    without_value: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    collapsed: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one claim, with the estimated effect behind it.

    Attributes:
        statement: the claim, as the preset words it.
        verdict: supported, contradicted or undetermined.
        measure: the measure that is compared.
        effect: left − right, left − value, or last − first level of a trend; in the unit of the
            measure. None if nothing could be compared, or if a ratio has no value.
        low, high: the confidence interval of the effect that decided, with coverage 1 − `level`;
            None where it is unbounded. It is not corrected for the number of claims.
        level: 0.05, or 0.1 for equality that is not contradicted: two one-sided tests decide by a
            90 % interval.
        low_95, high_95: the interval of coverage 95 %, whatever `level` is.
        n: number of values that entered: seeds, or for times stacks.
        method: the test that was used; empty if none was.
        p: p value of the test that leads to the verdict; None if nothing could be compared.
        p_adjusted: `p` adjusted for the number of claims; it decides. Equal to `p` without
            correction.
        excluded: number of trials that diverged or failed.
        without_value: number of finished trials that lack a value of their own.
        provisional: whether open trials may still change the verdict.
        reason: why the verdict is not "supported", and what was left out.
        timing: for times and throughputs, "shared" if other trials of the sweep ran at the same
            time as one of these configurations, else "alone"; empty for other measures.
        caution: a warning if replicates shared their time or memory, or if a choice is judged on
            the seeds it was made with.
        sides: the values of each side by seed, or of each level of a trend.
    """

    statement: str
    verdict: Word = "undetermined"
    measure: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    low_95: float | None = None
    high_95: float | None = None
    n: int = 0
    method: Method = ""
    p: float | None = None
    p_adjusted: float | None = None
    excluded: int = 0
    without_value: int = 0
    provisional: bool = False
    reason: str = ""
    timing: Timing = ""
    caution: str = ""
    sides: tuple[SeedValues, ...] = ()


def judge(state: SweepState) -> list[Verdict]:
    """Return the verdict on every claim, in the order of the preset."""
    claims = state.opened.claims if state.opened else ()
    judging = state.opened.judging if state.opened else Judging()
    return together([_judged(state, claim) for claim in claims], judging.correction)


def together(verdicts: Sequence[Verdict], correction: Correction) -> list[Verdict]:
    """Return verdicts that were reached one by one, adjusted for their number."""
    return [
        replace(verdict, verdict=word, p_adjusted=p, reason=reason)
        for verdict, (word, p, reason) in zip(
            verdicts,
            adjusted(
                [(each.verdict, each.p, each.reason) for each in verdicts],
                withheld=sum(each.p is None and _may_err(each) for each in verdicts),
                correction=correction,
            ),
            strict=True,
        )
    ]


def _may_err(verdict: Verdict) -> bool:
    """Return whether a claim could have got a verdict, or still can: it then counts with others.

    If claims counted only when they get a p value, the others would be judged more leniently just
    where chance has spared them.
    """
    return verdict.provisional or bool(verdict.method)


def _judged(state: SweepState, claim: Claim) -> Verdict:
    if claim.over is not None:
        return _along(state, claim, claim.over)
    spot = spot_of(claim)
    selectors = (claim.left,) if claim.value is not None else (claim.left, claim.right or {})
    looks = [looked_at(state, selector) for selector in selectors]
    sides = [
        gather(
            state,
            claim.measure,
            looked.asked if looked.lack else looked.configurations,
            EVERY if selector is None else "",
            spot,
        )
        for selector, looked in zip(selectors, looks, strict=True)
    ]
    lacks = [looked.lack for looked in looks]
    if any(lacks):
        verdict = _verdict(claim, sides, reason=_joined(lacks))
    elif claim.value is not None:
        verdict = _beside(claim, sides[0], claim.value)
    else:
        verdict = _comparison(claim, *sides)
    return _as_chosen(verdict, looks)


def _as_chosen(verdict: Verdict, looks: Sequence[Looked]) -> Verdict:
    """Return a verdict with what `[select]` has to do with it."""
    return replace(
        verdict,
        provisional=verdict.provisional or any(looked.open for looked in looks),
        caution=_joined([verdict.caution, *(looked.caution for looked in looks)]),
    )


def _along(state: SweepState, claim: Claim, over: str) -> Verdict:
    """Judge a trend over the configurations that `[select]` chose, or over its candidates."""
    tuned = selected_keys(state)
    looked = looked_at(state)
    if over in tuned:
        looked, tuned = Looked(looked.asked, looked.asked), ()
    if looked.open or not looked.configurations:
        everything = gather(state, claim.measure, looked.asked)
        return _as_chosen(_verdict(claim, [everything], reason=looked.lack), [looked])
    if over in NAMES:
        name = NAMES[over]
        rungs = ladder_within(state, over, claim.at_share, looked.configurations)
    else:
        name = over.split(".", 1)[1]
        rungs = ladder(over, looked.configurations, tuned)
    verdict = _trend(state, claim, name, rungs)
    return _as_chosen(replace(verdict, reason=_joined([verdict.reason, looked.lack])), [looked])


def _comparison(claim: Claim, left: Side, right: Side) -> Verdict:
    thin = [side for side in (left, right) if side.thin]
    mixed = _mixed(claim.measure, [left, right])
    effect = None if thin or mixed else effect_between(left, right)
    if effect is None:
        apart = mixed or "fewer than 2 seeds finished on both sides"
        lacks = [side.lack() for side in thin] or [apart]
        return _verdict(claim, [left, right], reason="; ".join(dict.fromkeys(lacks)))
    decision = decide(claim, effect)
    gap = held_back(decision, effect, claim.relation == "equal", left, right)
    return _verdict(claim, [left, right], effect, decision, gap, _method(left, right))


def _beside(claim: Claim, left: Side, value: float) -> Verdict:
    """Judge a claim that compares the mean of one side with a number, by a one-sample t test."""
    mixed = _mixed(claim.measure, [left])
    effect = None if mixed else effect_above(left, value)
    if effect is None:
        return _verdict(claim, [left], reason=left.lack() if left.thin else mixed)
    decision = decide(claim, effect)
    gap = held_back(decision, effect, claim.relation == "equal", left)
    method: Method = "sign test" if left.bounds else "one-sample t"
    return _verdict(claim, [left], effect, decision, gap, "Fieller" if left.ratios else method)


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
    effect = effect_between(usable[-1], usable[0]) if len(usable) > 1 else None
    if effect is None:
        return _on_levels(claim, levels, "; ".join(levels.remarks) or SHARED)
    sign = 1 if claim.trend == "increasing" else -1
    decision = decide(claim, effect)
    known = [side for side in levels.sides if not side.thin or side.values or side.diverged]
    gap = held_back(decision, effect, False, usable[-1], usable[0]) or held_back(
        decision, effect, False, known[-1], known[0]
    )
    if decision.word != "undetermined" and not gap:
        gap = series_gaps(levels.diverged, claim.measure, len(levels.sides), sign_of(effect))
    if decision.word == "supported" and not gap:
        gap = trend_gaps(known, sign) or unbounded(usable, sign) or reversal(usable, sign)
    verdict = _verdict(
        claim,
        levels.sides,
        effect,
        decision,
        gap,
        _method(usable[-1], usable[0]),
        levels.lost,
    )
    return replace(verdict, reason=_joined([verdict.reason, *levels.remarks]))


def _on_levels(claim: Claim, levels: Gathered, reason: str) -> Verdict:
    """Return an undetermined verdict with this reason."""
    return _verdict(claim, levels.sides, reason=reason, lost=levels.lost)


def _method(one: Side, other: Side) -> Method:
    if one.ratios:
        return "Fieller"
    if one.bounds or other.bounds:
        return "rank sum"
    return "paired t" if share_seeds(one, other) else "Welch's t"


def _verdict(
    claim: Claim,
    sides: Sequence[Side],
    effect: Effect | None = None,
    decision: Decision | None = None,
    gap: str = "",
    method: Method = "",
    lost: frozenset[str] = frozenset(),
    reason: str = "",
) -> Verdict:
    """Build the verdict on a claim, before it is adjusted for the number of claims.

    Args:
        claim: the claim that is judged.
        sides: what was compared.
        effect: the effect; None if nothing could be compared.
        decision: what its test says.
        gap: why missing values, or a reversed trend, leave the claim undetermined nevertheless.
        method: the test that was used.
        lost: trials that diverged or failed and belong to none of the sides.
        reason: why nothing could be compared.
    """
    if gap and any(side.censored for side in sides):
        effect = None  # a difference between amounts used in vain is none of the measure
    word = decision.word if decision and not gap else "undetermined"
    shown_equal = claim.relation == "equal" and word != "contradicted"
    level = EQUAL_LEVEL if shown_equal else LEVEL
    low, high = _ends(effect, level)
    low_95, high_95 = _ends(effect, LEVEL)
    told = bool(gap) and claim.measure in TO_TARGET
    omitted = [remark for side in sides for remark in side.omissions() if not told]
    why = gap or (decision.reason if decision else "")
    return Verdict(
        statement=claim.statement,
        verdict=word,
        measure=claim.measure,
        effect=effect.effect if effect else None,
        low=low,
        high=high,
        level=level,
        low_95=low_95,
        high_95=high_95,
        n=effect.n if effect else min((len(side.values) for side in sides), default=0),
        method=method,
        p=decision.p if decision and not gap else None,
        excluded=len(lost.union(*(side.lost for side in sides))),
        without_value=len(frozenset[str]().union(*(side.lacking for side in sides))),
        provisional=any(side.pending for side in sides),
        reason=_joined([why or reason, *omitted]),
        timing=_timing(claim.measure, sides),
        caution=_caution(claim.measure, sides),
        sides=tuple(map(_seed_values, sides)),
    )


def _ends(effect: Effect | None, level: float) -> tuple[float | None, float | None]:
    """Return the ends of an interval; None where there is no effect, or the end is unbounded."""
    if effect is None:
        return None, None
    low, high = effect.interval(level)
    return (low if abs(low) < INFINITE else None), (high if abs(high) < INFINITE else None)


def _seed_values(side: Side) -> SeedValues:
    return SeedValues(
        name=side.name,
        values={str(seed): value for seed, value in side.values.items()},
        above={str(seed): value for seed, value in side.bounds.items()},
        without_value=tuple(sorted(side.lacking)),
        excluded=tuple(sorted(side.lost)),
        collapsed=tuple(sorted(side.collapsed)),
    )


def _joined(reasons: Sequence[str]) -> str:
    """Join reasons, each said once."""
    return "; ".join(dict.fromkeys(part for part in reasons if part))


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

"""Estimates the critical batch size of a sweep with trials that train to a target.

A batch size counts only if all trials of one configuration reached the target: a mean over those
that did would flatter it. If a batch size has several configurations (several learning rates), the
one with the fewest mean steps is used, as McCandlish et al. 2018 tune the rate for each batch size,
unless `chosen` names another. Choosing and fitting on the same seeds makes the steps too few: by
6 % with four equal rates, three seeds and a spread of 10 % (`benchmarks/coverage.py`). A remark
says which seeds were used.

Shallue et al. 2018 (arXiv:1811.03600) distinguish three regimes as the batch size B grows: the
steps S fall as 1/B (perfect scaling), then more slowly (diminishing returns), then not at all
(maximal data parallelism). They give no numeric limits. Here a regime ends a fifth above the least
possible value, on either arm of the hyperbola of McCandlish et al. 2018: for the samples,
E <= 1.2 E_min, which is B <= B_crit/5; for the steps, S <= 1.2 S_min, which is B >= 5 B_crit.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.analysis.statistics import LEVEL
from batchscope.engine.analysis.target_cost import TargetCost, costs, means, series
from batchscope.engine.analysis.tuning import choices, same_seeds, to_confirm
from batchscope.engine.findings.comparison_sides import OPEN
from batchscope.engine.findings.configuration_summary import mean_of, stack_of
from batchscope.engine.findings.steps_samples_fit import LEAST_SEEDS, LEAST_SIZES, Fit, Method, fit
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.reached_rate import short_of_all
from batchscope.engine.schedule.target import has_target, judged_by, stated
from batchscope.engine.spec import Configuration

Regime = Literal[
    "perfect scaling", "diminishing returns", "maximal data parallelism", "undetermined"
]
EXCESS = 0.2


def regime_at(batch_size: float, critical: float) -> Regime:
    """Return the regime of a batch size; `critical` may be 0 or infinite."""
    if batch_size <= EXCESS * critical:
        return "perfect scaling"
    return "maximal data parallelism" if EXCESS * batch_size >= critical else "diminishing returns"


def regime_within(
    batch_size: float, value: float | None, low: float, high: float
) -> tuple[Regime, bool]:
    """Return the regime of a batch size, and whether the whole interval agrees.

    It is certain if both ends of the interval of the critical batch size give the same regime.

    Args:
        batch_size: in samples.
        value: the critical batch size; without it, the regime is known only if it is certain.
        low, high: ends of its interval; 0 or infinity where it is unbounded.
    """
    at_low, at_high = regime_at(batch_size, low), regime_at(batch_size, high)
    sure = at_low == at_high
    if value is None:
        return (at_low, True) if sure else ("undetermined", False)
    return regime_at(batch_size, value), sure


def above_linear_by(critical: float, smallest: float, excess: float = EXCESS) -> float:
    """Return the batch size that needs a fifth more steps than linear scaling predicts.

    Zhang et al. 2024 (arXiv:2410.21676) define the critical batch size in this way. Under linear
    scaling from the smallest batch B₀ the number of samples does not change; E(B) = 1.2 E(B₀) on
    the hyperbola gives B = 0.2 B_crit + 1.2 B₀.

    Args:
        critical: B_crit of McCandlish et al. 2018, in samples.
        smallest: the smallest batch size B₀.
        excess: the share above linear scaling.
    """
    return excess * critical + (1.0 + excess) * smallest


FEWER = "which makes its steps look fewer than they are"
SEVERAL = (
    "where a batch size has several learning rates, the one with the fewest steps is used: chosen "
    f"and judged on the same seeds, {FEWER} (use [select] with seeds_after)"
)
SAME_SEEDS = (
    "each batch size is judged on the seeds that chose its settings, "
    f"{FEWER} (set select.seeds_after)"
)
COARSE = 0.25
"""The share of a training between two checks of the target from which a remark says so."""
ENDS = ("diverged", "failed", "skipped", "stopped")
"""Statuses of trials that are left out even if they reached the target."""


class Size(Struct, frozen=True, kw_only=True):
    """A batch size on the curve: mean steps, samples and seconds to the target over `n` seeds.

    Attributes:
        batch_size, configuration, label: which configuration was used.
        lr: learning rate after scaling.
        lr_reached: the highest learning rate that any seed used, if it is below `lr`.
        steps, samples, seconds: means until the target was reached.
        n: number of seeds.
        regime: regime of Shallue et al. 2018.
        sure: whether the regime is the same at both ends of the interval.
        stacked: number of replicates that share the seconds.
    """

    batch_size: int
    configuration: str
    label: str
    lr: float
    steps: float
    samples: float
    seconds: float
    n: int
    regime: Regime = "undetermined"
    sure: bool = False
    stacked: int = 1
    lr_reached: float | None = None


class LeftOut(Struct, frozen=True):
    """A batch size that is not on the curve, with the reason."""

    batch_size: int
    reason: str


class Critical(Struct, frozen=True, kw_only=True):
    """The critical batch size in samples, or the `reason` why it is undetermined.

    Attributes:
        value: B_crit in samples.
        low, high: its interval with coverage 1 − `level`; None where it is unbounded.
        level: significance level.
        above, below: known bounds if `value` is None.
        steps_min, samples_min: S_min and E_min, the fewest possible steps and samples.
        above_linear: batch size of Zhang et al. 2024, with its interval in `above_linear_low` and
            `above_linear_high`.
        target: what the trials trained to.
        target_measure: the column that is compared with `target`.
        method: how the interval was computed.
        n: number of seeds.
        sizes: the batch sizes on the curve.
        left_out: the batch sizes that are not on the curve.
        reason: why `value` is None.
        remarks: remarks on the data and the fit.
        provisional: whether open trials may still change the result.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    above: float | None = None
    below: float | None = None
    steps_min: float | None = field(default=None, name="S_min")
    samples_min: float | None = field(default=None, name="E_min")
    above_linear: float | None = None
    above_linear_low: float | None = None
    above_linear_high: float | None = None
    target: float | None = None
    target_measure: str = "test_accuracy"
    method: Method = ""
    n: int = 0
    sizes: tuple[Size, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    reason: str = ""
    remarks: tuple[str, ...] = ()
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class _Reached:
    """A configuration that reached the target in every trial."""

    configuration: Configuration
    costs: Sequence[TargetCost]
    lr: float
    seconds: float
    stacked: int
    lr_reached: float | None

    @property
    def mean(self) -> TargetCost:
        return means(self.costs)

    @property
    def batch_size(self) -> int:
        return self.configuration.settings.train.batch_size


def critical_batch_size(
    state: SweepState, chosen: Mapping[int, str] | None = None
) -> Critical | None:
    """Estimate the critical batch size of a sweep; None if no configuration has a target.

    Args:
        state: the sweep.
        chosen: for batch sizes with several configurations, the id of the one to use.
    """
    every = [state.configurations[name] for name in by_batch_size(state)]
    aimed = [each for each in every if has_target(each.settings.train)]
    if not aimed:
        return None
    if len({series(each.settings) for each in aimed}) > 1:
        return Critical(
            reason="the configurations differ in more than batch size and learning rate"
        )
    target, judged_on = stated(aimed[0].settings.train), judged_by(aimed[0].settings)
    reached, left_out, remarks = _sorted_out(state, aimed, chosen or {})
    trials = [trial for each in aimed for trial in state.replicates(each.id)]
    base = Critical(
        target=target[1] if target else None,
        target_measure=judged_on,
        n=min((len(each.costs) for each in reached), default=0),
        sizes=tuple(map(_size, reached)),
        left_out=tuple(left_out),
        remarks=tuple(remarks),
        provisional=any(trial.status in OPEN for trial in trials) or bool(to_confirm(state)),
    )
    lack = _lack(reached)
    return replace(base, reason=lack) if lack else _fitted(base, reached)


def _sorted_out(
    state: SweepState, aimed: Iterable[Configuration], chosen: Mapping[int, str]
) -> tuple[list[_Reached], list[LeftOut], list[str]]:
    """Return the configuration of each batch size, the batch sizes without one, and remarks."""
    by_size: dict[int, list[Configuration]] = {}
    for each in aimed:
        by_size.setdefault(each.settings.train.batch_size, []).append(each)
    reached, left_out, several = [], [], False
    due = {each.settings.train.batch_size for each in to_confirm(state)}
    for size, candidates in by_size.items():
        use = chosen.get(size)
        if use is not None:
            candidates = [each for each in candidates if each.id == use]
        whole = [one for each in candidates if (one := _reached(state, each))]
        awaited = any(_is_open(state, each) for each in candidates)
        if size in due:
            left_out.append(LeftOut(size, "its fresh seeds are not trained yet"))
            continue
        if awaited or not whole:
            left_out.append(LeftOut(size, _why(state, candidates, awaited)))
            continue
        several = several or len(candidates) > 1
        reached.append(min(whole, key=lambda one: one.mean.steps))
    return reached, left_out, [SEVERAL] if several else _seeds_of(state, reached)


def _seeds_of(state: SweepState, reached: Iterable[_Reached]) -> list[str]:
    """Return a remark on which seeds the curve is fitted, if its configurations were chosen."""
    of = {each.configuration.id for each in reached}
    made = [choice for choice in choices(state) if choice.judged in of]
    fresh = {choice.fresh_seeds for choice in made if choice.fresh_seeds}
    if fresh:
        count = max(fresh)
        return [f"judged on {count} fresh seed{'s' * (count > 1)}, which had no part in the choice"]
    return [SAME_SEEDS] if any(map(same_seeds, made)) else []


def _reached(state: SweepState, configuration: Configuration) -> _Reached | None:
    trial_costs = costs(state, configuration)
    known = [cost for cost in trial_costs if cost is not None]
    if not known or len(known) < len(trial_costs):
        return None
    started = state.replicates(configuration.id)[0].started
    seconds = mean_of(state, configuration.id, "seconds_to_target")
    return _Reached(
        configuration,
        known,
        started.lr if started else math.nan,
        seconds.mean if seconds else means(known).seconds,
        stack_of(state, configuration.id),
        short_of_all(state, configuration.id),
    )


def _is_open(state: SweepState, configuration: Configuration) -> bool:
    return any(trial.status in OPEN for trial in state.replicates(configuration.id))


def _why(state: SweepState, candidates: Iterable[Configuration], awaited: bool) -> str:
    """Return which trials did not reach the target, and how they ended instead."""
    if awaited:
        return "some of its trials have not ended"
    by_ending: dict[str, list[str]] = {}
    for each in candidates:
        trials = zip(state.replicates(each.id), costs(state, each), strict=True)
        for trial, cost in trials:
            if cost is None:
                how = trial.status if trial.status in ENDS else "did not reach the target"
                by_ending.setdefault(how, []).append(trial.id)
    return "; ".join(f"{_some(names)} {how}" for how, names in by_ending.items())


def _some(names: Sequence[str]) -> str:
    """List one or two names, or the first and the number of the others."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _lack(reached: Sequence[_Reached]) -> str:
    """Return why no curve can be fitted; empty if it can."""
    if len(reached) < LEAST_SIZES:
        some = {0: "no batch size", 1: "only one batch size"}.get(len(reached))
        some = some or f"only {len(reached)} batch sizes"
        return f"{some} reached the target in every trial ({LEAST_SIZES} are needed)"
    if min(len(each.costs) for each in reached) < LEAST_SEEDS:
        return "one seed has no spread (set seeds = 2 or more)"
    if len({each.configuration.seeds for each in reached}) > 1:
        return "the batch sizes were not run with the same seeds"
    return ""


def _fitted(base: Critical, reached: Sequence[_Reached]) -> Critical:
    """Fit the curve through the batch sizes that reached the target.

    The size of a step is samples ÷ steps, which is less than the batch size if the last batch of
    an epoch is smaller.
    """
    sizes = [each.mean.samples / each.mean.steps for each in reached]
    steps = [[cost.steps for cost in each.costs] for each in reached]
    every = [each.mean.every for each in reached]
    curve = fit(sizes, steps, every)
    smallest, largest = min(sizes), max(sizes)
    low, high = curve.low, curve.high
    ends = {"low": low or None, "high": high if math.isfinite(high) else None}
    critical = replace(
        base,
        **ends,
        method=curve.method,
        remarks=(*base.remarks, *_remarks(curve, reached, every)),
    )
    if low > 0 and math.isfinite(high) and smallest <= curve.critical <= largest:
        linear = [above_linear_by(at, smallest) for at in (curve.critical, low, high)]
        return _marked(
            replace(
                critical,
                value=curve.critical,
                steps_min=curve.steps_min,
                samples_min=curve.samples_min,
                above_linear=linear[0],
                above_linear_low=linear[1],
                above_linear_high=linear[2],
            ),
            None,
        )
    one_sided, bounds = _unbent(critical, curve, smallest, largest)
    return _marked(one_sided, bounds)


def _unbent(
    critical: Critical, curve: Fit, smallest: float, largest: float
) -> tuple[Critical, tuple[float, float]]:
    """Return bounds instead of a value: the curve does not bend within the batch sizes tried."""
    above = min(curve.low, largest) if curve.low > 0 else None
    below = max(curve.high, smallest) if math.isfinite(curve.high) else None
    if curve.critical > largest or (above and not below):
        critical = replace(
            critical, above=above, reason="steps fall nearly as 1/B up to the largest batch size"
        )
    elif curve.critical < smallest or (below and not above):
        critical = replace(
            critical, below=below, reason="steps hardly fall beyond the smallest batch size"
        )
    else:
        critical = replace(critical, reason="the spread over the seeds hides where the curve bends")
    return critical, (critical.above or 0.0, critical.below or math.inf)


def _remarks(curve: Fit, reached: Sequence[_Reached], every: Sequence[float]) -> list[str]:
    remarks = []
    if curve.method == "t over the batch sizes":
        remarks.append(
            "the steps deviate from the fitted hyperbola by more than the spread over the seeds "
            f"explains (p = {curve.strays:.2g}), so the interval is computed from these deviations"
        )
    looks = zip(reached, every, strict=True)
    coarse = [str(each.batch_size) for each, step in looks if step > COARSE * each.mean.steps]
    if coarse:
        *others, last = coarse
        sizes = f"sizes {', '.join(others)} and {last}" if others else f"size {last}"
        remarks.append(
            f"the target was checked only a few times at batch {sizes}, so the steps there are "
            "imprecise"
        )
    return remarks


def _marked(critical: Critical, within: tuple[float, float] | None) -> Critical:
    """Set the regime of each batch size, by the interval or by the bounds known instead."""
    low, high = within or (critical.low or 0.0, critical.high or math.inf)
    sizes = []
    for size in critical.sizes:
        regime, sure = regime_within(size.samples / size.steps, critical.value, low, high)
        sizes.append(replace(size, regime=regime, sure=sure))
    return replace(critical, sizes=tuple(sizes))


def _size(one: _Reached) -> Size:
    mean = one.mean
    return Size(
        batch_size=one.batch_size,
        configuration=one.configuration.id,
        label=one.configuration.label,
        lr=one.lr,
        steps=mean.steps,
        samples=mean.samples,
        seconds=one.seconds,
        n=len(one.costs),
        stacked=one.stacked,
        lr_reached=one.lr_reached,
    )

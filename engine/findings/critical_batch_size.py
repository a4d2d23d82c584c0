"""The critical batch size of a sweep with a target: which batch sizes count, and what the fit says.

A batch size counts only where all trials of one configuration reached the target: a mean over those
that did would flatter it. Of several configurations of one batch size (several rates) the one with
the fewest mean steps is taken, as McCandlish et al. 2018 tune the rate for each batch size; unless
`chosen` says which.

Shallue et al. 2018 (arXiv:1811.03600) tell three regimes apart as the batch grows: steps fall as
1/B (perfect scaling), then less (diminishing returns), then not at all (maximal data parallelism).
They draw no border by number. Here it is a fifth above what is the least possible, on either arm of
the hyperbola of McCandlish et al. 2018: of the samples, E <= 1.2 E_min, which is B <= B_crit/5, and
of the steps, S <= 1.2 S_min, which is B >= 5 B_crit.
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
from batchscope.engine.findings.comparison_sides import OPEN
from batchscope.engine.findings.configuration_summary import mean_of, stack_of
from batchscope.engine.findings.steps_samples_fit import LEAST_SEEDS, LEAST_SIZES, Fit, Method, fit
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.schedule.target import has_target, judged_by
from batchscope.engine.spec import Configuration

Regime = Literal[
    "perfect scaling", "diminishing returns", "maximal data parallelism", "undetermined"
]
EXCESS = 0.2


def regime_at(batch_size: float, critical: float) -> Regime:
    """The regime of a batch size; `critical` may be 0 or infinite."""
    if batch_size <= EXCESS * critical:
        return "perfect scaling"
    return "maximal data parallelism" if EXCESS * batch_size >= critical else "diminishing returns"


def regime_within(
    batch_size: float, value: float | None, low: float, high: float
) -> tuple[Regime, bool]:
    """The regime, and whether it is the same at both ends of the interval of the critical size.

    Without a `value` the regime is determined only where both ends agree.
    """
    at_low, at_high = regime_at(batch_size, low), regime_at(batch_size, high)
    sure = at_low == at_high
    if value is None:
        return (at_low, True) if sure else ("undetermined", False)
    return regime_at(batch_size, value), sure


def above_linear_by(critical: float, smallest: float, excess: float = EXCESS) -> float:
    """The batch size whose steps are a fifth over linear scaling from the smallest batch.

    Zhang et al. 2024 (arXiv:2410.21676) call it critical. Scaled linearly, the samples stay those
    of the smallest batch B₀; E(B) = 1.2 E(B₀) on the hyperbola gives B = 0.2 B_crit + 1.2 B₀.
    """
    return excess * critical + (1.0 + excess) * smallest


COARSE = 0.25
"""From this share of a training on, the time between two looks at the target is worth a word."""
ENDS = ("diverged", "failed", "skipped", "stopped")
"""How trials end that are left out for it, whatever they reached."""


class Size(Struct, frozen=True, kw_only=True):
    """A batch size on the curve: mean steps, samples and seconds to the target over `n` seeds.

    `lr` is the learning rate after scaling. `sure` says that the regime is the same at both ends
    of the interval. So many as `stacked` replicates share the seconds.
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


class LeftOut(Struct, frozen=True):
    """A batch size that is not on the curve, and why."""

    batch_size: int
    reason: str


class Critical(Struct, frozen=True, kw_only=True):
    """The critical batch size in samples, or the `reason` why it is undetermined.

    `low` and `high` are its interval of coverage 1 − `level`, None where it has no such end;
    `above` and `below` are what can be said instead of a `value`. `above_linear` is the batch size
    of Zhang et al. 2024, with `above_linear_low` and `above_linear_high`. `target_measure` is the
    column that has to reach `target`. `provisional` tells that trials are still to come.
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
    """A configuration all of whose trials reached the target."""

    configuration: Configuration
    costs: Sequence[TargetCost]
    lr: float
    seconds: float
    stacked: int

    @property
    def mean(self) -> TargetCost:
        return means(self.costs)

    @property
    def batch_size(self) -> int:
        return self.configuration.settings.train.batch_size


def critical_batch_size(
    state: SweepState, chosen: Mapping[int, str] | None = None
) -> Critical | None:
    """What the sweep tells; None where no configuration has a target.

    `chosen` names the configuration of each batch size to be taken.
    """
    every = [state.configurations[name] for name in by_batch_size(state)]
    aimed = [each for each in every if has_target(each.settings.train)]
    if not aimed:
        return None
    if len({series(each.settings) for each in aimed}) > 1:
        return Critical(reason="the configurations differ in more than batch size and rate")
    train, judged_on = aimed[0].settings.train, judged_by(aimed[0].settings)
    reached, left_out, remarks = _sorted_out(state, aimed, chosen or {})
    trials = [trial for each in aimed for trial in state.replicates(each.id)]
    base = Critical(
        target=train.target_loss if train.target_accuracy is None else train.target_accuracy,
        target_measure=judged_on,
        n=min((len(each.costs) for each in reached), default=0),
        sizes=tuple(map(_size, reached)),
        left_out=tuple(left_out),
        remarks=tuple(remarks),
        provisional=any(trial.status in OPEN for trial in trials),
    )
    lack = _lack(reached)
    return replace(base, reason=lack) if lack else _fitted(base, reached)


def _sorted_out(
    state: SweepState, aimed: Iterable[Configuration], chosen: Mapping[int, str]
) -> tuple[list[_Reached], list[LeftOut], list[str]]:
    """The configuration of each batch size, the batch sizes without one, and what was preferred."""
    by_size: dict[int, list[Configuration]] = {}
    for each in aimed:
        by_size.setdefault(each.settings.train.batch_size, []).append(each)
    reached, left_out, several = [], [], False
    for size, candidates in by_size.items():
        if size in chosen:
            candidates = [each for each in candidates if each.id == chosen[size]]
        whole = [one for each in candidates if (one := _reached(state, each))]
        awaited = any(_is_open(state, each) for each in candidates)
        if awaited or not whole:
            left_out.append(LeftOut(size, _why(state, candidates, awaited)))
            continue
        several = several or len(candidates) > 1
        reached.append(min(whole, key=lambda one: one.mean.steps))
    remark = "of several rates at a batch size the one with the fewest mean steps is taken"
    return reached, left_out, [remark] if several else []


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
    )


def _is_open(state: SweepState, configuration: Configuration) -> bool:
    return any(trial.status in OPEN for trial in state.replicates(configuration.id))


def _why(state: SweepState, candidates: Iterable[Configuration], awaited: bool) -> str:
    """Which trials did not reach the target, and how they ended instead."""
    if awaited:
        return "trials are still to come"
    by_ending: dict[str, list[str]] = {}
    for each in candidates:
        trials = zip(state.replicates(each.id), costs(state, each), strict=True)
        for trial, cost in trials:
            if cost is None:
                how = trial.status if trial.status in ENDS else "did not reach the target"
                by_ending.setdefault(how, []).append(trial.id)
    return "; ".join(f"{_some(names)} {how}" for how, names in by_ending.items())


def _some(names: Sequence[str]) -> str:
    """The one, both, or the first of them and how many more."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _lack(reached: Sequence[_Reached]) -> str:
    """Why nothing can be fitted; empty where it can."""
    if len(reached) < LEAST_SIZES:
        some = {0: "no batch size", 1: "one batch size"}.get(len(reached))
        some = some or f"{len(reached)} batch sizes"
        return f"{some} reached the target in every trial; {LEAST_SIZES} are needed"
    if min(len(each.costs) for each in reached) < LEAST_SEEDS:
        return "one seed says nothing of the spread; give seeds = 2 or more"
    if len({each.configuration.seeds for each in reached}) > 1:
        return "the batch sizes have other seeds"
    return ""


def _fitted(base: Critical, reached: Sequence[_Reached]) -> Critical:
    """A step sees samples ÷ steps images, which is less than the batch size in ragged epochs."""
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
    """No number: the curve does not bend where it was looked at; what remains is one side."""
    above = min(curve.low, largest) if curve.low > 0 else None
    below = max(curve.high, smallest) if math.isfinite(curve.high) else None
    if curve.critical > largest or (above and not below):
        critical = replace(
            critical, above=above, reason="steps fall nearly as 1/B up to the largest batch"
        )
    elif curve.critical < smallest or (below and not above):
        critical = replace(
            critical, below=below, reason="steps hardly fall from the smallest batch on"
        )
    else:
        critical = replace(
            critical, reason="the seeds spread too widely to see where the curve bends"
        )
    return critical, (critical.above or 0.0, critical.below or math.inf)


def _remarks(curve: Fit, reached: Sequence[_Reached], every: Sequence[float]) -> list[str]:
    remarks = []
    if curve.method == "t over the batch sizes":
        remarks.append(
            "the steps stray from the hyperbola by more than the seeds explain "
            f"(p = {curve.strays:.2g}): the interval goes by that"
        )
    looks = zip(reached, every, strict=True)
    coarse = [str(each.batch_size) for each, step in looks if step > COARSE * each.mean.steps]
    if coarse:
        remarks.append(
            f"the target was looked for in few moments only at batch size {', '.join(coarse)}"
        )
    return remarks


def _marked(critical: Critical, within: tuple[float, float] | None) -> Critical:
    """The regime of each batch size, by the interval or by what is known instead."""
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
    )

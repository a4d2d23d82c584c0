"""The metrics of each configuration over its seeds, with intervals and ratios.

Pure functions of a `SweepState`; only finished trials count.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.figures import kin, preferred
from batchscope.engine.analysis.ratio_estimate import Quotient
from batchscope.engine.analysis.stack_times import TIMED, stacked, timed_trials
from batchscope.engine.analysis.statistics import LEVEL, interval, of_mean
from batchscope.engine.findings.comparison_sides import LOST, gather
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition, whole_of
from batchscope.engine.metrics.collapse import collapse_remark, collapsed_seeds
from batchscope.engine.metrics.primary_metric import primary_metric
from batchscope.engine.metrics.registry import SUMMARY
from batchscope.engine.metrics.task_metrics import task_epoch_metrics
from batchscope.engine.spec import Settings

MEASURES = tuple(metric.name for metric in SUMMARY)
TIMES = ("epoch_seconds", "step_seconds")


class Mean(Struct, frozen=True):
    """A mean over `n` seeds with its 95 % interval, if there are two seeds or more.

    Of a ratio of means, such as a noise scale, the ratio of the means over the seeds with Fieller's
    interval; an end of it is None where it is unbounded.

    Attributes:
        n: number of values that entered: seeds, or for times and paces stacks, because their
            replicates share one measurement. Every finished seed enters a ratio of means that was
            measured in it.
        normalized: the mean ÷ that of the smallest batch size; None if the latter may be 0.
        without_value: number of finished trials that lack a value of their own, such as those that
            missed their target. They are left out, except from a ratio of means.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    normalized: float | None = None
    without_value: int = 0


class ConfigurationSummary(Struct, frozen=True, kw_only=True):
    """One configuration over its seeds.

    `ratios` are the times of the next smaller batch size ÷ its own, if both were stacked alike.
    Only configurations that are comparable have ratios: see `engine.analysis.figures.kin`.
    `timing` says whether other trials of the sweep ran at the same time: `alone` or `shared`.
    `stacked` replicates share a time. `collapsed` are the seeds whose training collapsed
    (`engine.metrics.collapse`): a mean that includes them describes neither them nor the others.
    """

    configuration: str
    label: str
    batch_size: int
    seeds: int
    finished: int
    excluded: int
    timing: str
    figures: dict[str, Mean]
    ratios: dict[str, float]
    stacked: int = 1
    collapsed: tuple[int, ...] = ()


def mean_of(state: SweepState, configuration: str, measure: str) -> Mean | None:
    """Return the mean of a metric over the finished seeds of a configuration; None without any.

    Bias and variance of three seeds are known, but not for each seed: they have no interval.
    """
    side = gather(state, measure, [state.configurations[configuration]])
    if side.ratios:
        return _mean_of_ratio(side.ratios[0], len(side.lacking))
    if side.values or measure not in ErrorDecomposition._fields:
        return mean_over(list(side.values.values()), side.floor, len(side.lacking))
    whole = whole_of(state, configuration, measure)
    return Mean(whole[0], None, None, whole[1]) if whole else None


def mean_over(values: Sequence[float], floor: float = 0.0, without_value: int = 0) -> Mean | None:
    """Return mean and interval of values; None without any.

    Args:
        values: the value of each seed.
        floor: the least variance of a value.
        without_value: how many finished trials have none.
    """
    estimate = of_mean(values, floor)
    if estimate is None:
        return Mean(values[0], None, None, 1, None, without_value) if values else None
    low, high = interval(estimate)
    return Mean(estimate.effect, low, high, estimate.n, None, without_value)


def _mean_of_ratio(quotient: Quotient, without_value: int) -> Mean | None:
    """Return the ratio of the means with Fieller's interval; None if it has no value."""
    value = quotient.value
    if value is None:
        return None
    low, high = quotient.limits(LEVEL) if quotient.n > 1 else (None, None)
    bounded = high if high is not None and math.isfinite(high) else None
    return Mean(value, low, bounded, quotient.n, None, without_value)


def left_out_text(means: Mapping[str, Mean], labels: Mapping[str, str]) -> str:
    """Return which means leave finished trials out, as "1024: 2 without a value"; or nothing.

    Args:
        means: means of one measure by configuration.
        labels: the names of the configurations.
    """
    return ", ".join(
        f"{labels[name]}: {mean.without_value} without a value"
        for name, mean in means.items()
        if mean.without_value
    )


def collapse_texts(state: SweepState, configurations: Iterable[str]) -> list[str]:
    """Return a remark for each configuration with collapsed seeds: “1024: 2 of 10 seeds …”."""
    remarks = []
    for name in configurations:
        trials = state.replicates(name)
        finished = sum(trial.status == "finished" for trial in trials)
        told = collapse_remark(collapsed_seeds(trials), finished)
        if told:
            remarks.append(f"{state.configurations[name].label}: {told}")
    return remarks


def measured_in(mean: Mean, base: Mean | None) -> Mean:
    """Return a mean, and its ratio to that of the base if the base's interval excludes 0."""
    if base is None:
        return mean
    low, high = (base.mean if end is None else end for end in (base.low, base.high))
    return mean if low <= 0 <= high else replace(mean, normalized=mean.mean / base.mean)


def bars(state: SweepState, measure: str) -> dict[str, Mean]:
    """Return a metric of each configuration, and its ratio to that of the smallest batch size.

    The base is the first comparable configuration with the smallest batch size that has a value.
    A time has no base that was trained in stacks of another size.
    """
    means = {name: mean_of(state, name, measure) for name in preferred(state)}
    known = {name: mean for name, mean in means.items() if mean is not None}
    beside: dict[str, Mean] = {}
    for family in _families(state):
        smallest = [each for each in family if _size(state, each) == _size(state, family[0])]
        first = next((each for each in smallest if each in known), None)
        for each in family:
            if each in known:
                base = known[first] if first and _comparable(state, measure, each, first) else None
                beside[each] = measured_in(known[each], base)
    return {name: beside[name] for name in known}


def ratios(state: SweepState, means: dict[str, Mean]) -> dict[str, float]:
    """Return the time of the next smaller batch size ÷ the time, for comparable configurations.

    Batch sizes without a value are skipped; no ratio is given if the stack sizes differ.
    """
    factors: dict[str, float] = {}
    for family in _families(state):
        smaller: str | None = None  # the last one of the next smaller batch size
        before: str | None = None
        for name in (each for each in family if each in means):
            if before and _size(state, before) < _size(state, name):
                smaller = before
            before = name
            alike = smaller and stack_of(state, smaller) == stack_of(state, name)
            if smaller and alike and means[name].mean > 0:
                factors[name] = means[smaller].mean / means[name].mean
    return factors


def stack_of(state: SweepState, configuration: str) -> int:
    """Return how many replicates share the times of a configuration."""
    return stacked(timed_trials(state.replicates(configuration)))


def _comparable(state: SweepState, measure: str, one: str, other: str) -> bool:
    """Return whether a measure of two configurations compares: times only in equal stacks."""
    return measure not in TIMED or stack_of(state, one) == stack_of(state, other)


def _families(state: SweepState) -> list[list[str]]:
    """Return groups of comparable configurations, each in the order of their batch sizes."""
    families: dict[Settings, list[str]] = {}
    for name in preferred(state):
        families.setdefault(kin(state.configurations[name].settings), []).append(name)
    return list(families.values())


def _size(state: SweepState, configuration: str) -> int:
    return state.configurations[configuration].settings.train.batch_size


def measures_of(state: SweepState) -> tuple[str, ...]:
    """Return the measures of each configuration, with those of the sweep's tasks at the end."""
    own = (each.name for each in task_epoch_metrics(state))
    return tuple(dict.fromkeys((*MEASURES, primary_metric(state).measure, *own)))


def figures(state: SweepState, measures: Iterable[str] | None = None) -> list[ConfigurationSummary]:
    """Summarize every configuration, smaller batch sizes first."""
    measures = measures_of(state) if measures is None else measures
    means = {measure: bars(state, measure) for measure in measures}
    faster = {measure: ratios(state, means[measure]) for measure in TIMES if measure in means}
    return [
        ConfigurationSummary(
            configuration=name,
            label=state.configurations[name].label,
            batch_size=_size(state, name),
            seeds=len(state.replicates(name)),
            finished=sum(trial.status == "finished" for trial in state.replicates(name)),
            excluded=sum(trial.status in LOST for trial in state.replicates(name)),
            timing=state.configurations[name].settings.run.timing,
            figures={
                measure: by_name[name] for measure, by_name in means.items() if name in by_name
            },
            ratios={
                measure: by_name[name] for measure, by_name in faster.items() if name in by_name
            },
            stacked=stack_of(state, name),
            collapsed=collapsed_seeds(state.replicates(name)),
        )
        for name in preferred(state)
    ]

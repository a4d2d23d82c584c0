"""Summarizes each configuration: means over its seeds, with intervals and ratios.

Pure functions of a `SweepState`; only finished trials count.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.bias_variance import ErrorDecomposition, whole_of
from batchscope.engine.analysis.figures import kin, preferred
from batchscope.engine.analysis.stack_times import TIMED, stacked, timed_trials
from batchscope.engine.analysis.statistics import interval, of_mean
from batchscope.engine.findings.comparison_sides import LOST, gather
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Settings

MEASURES = (
    "test_accuracy",
    "generalization_gap",
    "distance_from_init",
    "epoch_seconds",
    "step_seconds",
    "training_seconds",
    "grad_norm_cv",
    "grad_norm_cv_early",
    "grad_norm_cv_late",
    "weight_norm",
    "path_per_sample",
    "distance_log_slope",
    "distance_log_r2",
    "distance_power",
    "bias",
    "variance",
    "net_variance",
    "sharpness",
    "samples_per_second",
)
TIMES = ("epoch_seconds", "step_seconds")


class Mean(Struct, frozen=True):
    """A mean over `n` seeds with its 95 % confidence interval (None with fewer than two seeds).

    For times and throughputs `n` counts stacks, because the replicates of a stack share one
    measurement. `normalized` is the mean divided by that of the smallest batch size; None if that
    one does not differ significantly from 0.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    normalized: float | None = None


class ConfigurationSummary(Struct, frozen=True, kw_only=True):
    """The means of one configuration over its seeds.

    Attributes:
        configuration, label, batch_size: which configuration it is.
        seeds, finished, excluded: number of trials, of finished ones, of diverged or failed ones.
        timing: "alone", or "shared" if other trials of the sweep ran at the same time.
        figures: mean of each measure that it has.
        ratios: for each time, how many times it fits into that of the next smaller batch size of
            the same kin (see `engine.analysis.figures.kin`) and stack size.
        stacked: number of replicates that share a time.
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


def mean_of(state: SweepState, configuration: str, measure: str) -> Mean | None:
    """Return the mean of a measure over the finished seeds; None if no trial has it.

    Bias and variance of three seeds are known only as a whole, so they have no interval.
    """
    side = gather(state, measure, [state.configurations[configuration]])
    if side.values or measure not in ErrorDecomposition._fields:
        return mean_over(list(side.values.values()), side.floor)
    whole = whole_of(state, configuration, measure)
    return Mean(whole[0], None, None, whole[1]) if whole else None


def mean_over(values: Sequence[float], floor: float = 0.0) -> Mean | None:
    """Return mean and interval of values with a variance of at least `floor`; None without any."""
    estimate = of_mean(values, floor)
    if estimate is None:
        return Mean(values[0], None, None, 1) if values else None
    low, high = interval(estimate)
    return Mean(estimate.effect, low, high, estimate.n)


def measured_in(mean: Mean, base: Mean | None) -> Mean:
    """Return a mean, also divided by that of the base if the interval of the base excludes 0."""
    if base is None:
        return mean
    low, high = (base.mean if end is None else end for end in (base.low, base.high))
    return mean if low <= 0 <= high else replace(mean, normalized=mean.mean / base.mean)


def bars(state: SweepState, measure: str) -> dict[str, Mean]:
    """Return a measure of each configuration, also divided by that of the smallest batch size.

    The base is the first configuration with a value that has the smallest batch size among its
    kin. A time has no base of a different stack size.
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
    """Return how many times a time fits into that of the next smaller batch size among its kin.

    Batch sizes without a value are skipped. There is no ratio between different stack sizes.
    """
    factors: dict[str, float] = {}
    for family in _families(state):
        known = [each for each in family if each in means]
        for name in known:
            smaller = [each for each in known if _size(state, each) < _size(state, name)]
            alike = smaller and stack_of(state, smaller[-1]) == stack_of(state, name)
            if alike and means[name].mean > 0:
                factors[name] = means[smaller[-1]].mean / means[name].mean
    return factors


def stack_of(state: SweepState, configuration: str) -> int:
    """Return how many replicates share the times of a configuration."""
    return stacked(timed_trials(state.replicates(configuration)))


def _comparable(state: SweepState, measure: str, one: str, other: str) -> bool:
    """Return whether two configurations can be compared: times only if stacks are equal."""
    return measure not in TIMED or stack_of(state, one) == stack_of(state, other)


def _families(state: SweepState) -> list[list[str]]:
    """Group the configurations by kin, each group in the order of batch sizes."""
    families: dict[Settings, list[str]] = {}
    for name in preferred(state):
        families.setdefault(kin(state.configurations[name].settings), []).append(name)
    return list(families.values())


def _size(state: SweepState, configuration: str) -> int:
    return state.configurations[configuration].settings.train.batch_size


def figures(state: SweepState, measures: Iterable[str] = MEASURES) -> list[ConfigurationSummary]:
    """Summarize every configuration, smaller batch sizes first."""
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
        )
        for name in preferred(state)
    ]

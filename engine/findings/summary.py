"""The figures of each configuration over its seeds, with intervals and beside the smallest batch.

Pure functions of a `SweepState`; only finished trials count.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from engine.figures import by_batch_size
from engine.findings.sides import LOST, gather
from engine.findings.statistics import interval, of_mean
from engine.state import SweepState

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
)
TIMES = ("epoch_seconds", "step_seconds")


class Mean(Struct, frozen=True):
    """A mean over `n` seeds with its interval of coverage 0.95, where two seeds or more give one.

    `normalized` is the mean over that of the smallest batch size.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    normalized: float | None = None


class Figures(Struct, frozen=True, kw_only=True):
    """One configuration. `ratios` tells how often its times fit into the next smaller batch's.

    `timing` says whether anything else of the sweep ran beside: `alone` or `shared`.
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


def mean_of(state: SweepState, configuration: str, measure: str) -> Mean | None:
    """A measure over the finished seeds of a configuration; None where no trial has it."""
    side = gather(state, measure, [state.configurations[configuration]])
    return mean_over(list(side.values.values()), side.floor)


def mean_over(values: Sequence[float], floor: float = 0.0) -> Mean | None:
    """Mean and interval of values, each with a variance of at least `floor`; None without any."""
    found = of_mean(values, floor)
    if found is None:
        return Mean(values[0], None, None, 1) if values else None
    return Mean(found.effect, *interval(found), found.n)


def bars(state: SweepState, measure: str) -> dict[str, Mean]:
    """A measure across batch sizes, each also divided by the smallest batch size's."""
    means = {name: mean_of(state, name, measure) for name in by_batch_size(state)}
    known = {name: mean for name, mean in means.items() if mean is not None}
    base = next(iter(known.values())).mean if known else 0.0
    return {
        name: Mean(each.mean, each.low, each.high, each.n, each.mean / base if base else None)
        for name, each in known.items()
    }


def ratios(state: SweepState, means: dict[str, Mean]) -> dict[str, float]:
    """How many times a figure fits into that of the next smaller batch size."""
    found: dict[str, float] = {}
    smaller = last = None
    size = 0
    for name, mean in means.items():
        own = state.configurations[name].settings.train.batch_size
        if own != size:
            smaller, size = last, own
        if smaller is not None and mean.mean > 0:
            found[name] = smaller / mean.mean
        last = mean.mean
    return found


def figures(state: SweepState, measures: Iterable[str] = MEASURES) -> list[Figures]:
    """Every configuration, smaller batch sizes first."""
    means = {measure: bars(state, measure) for measure in measures}
    faster = {measure: ratios(state, means[measure]) for measure in TIMES if measure in means}
    return [
        Figures(
            configuration=name,
            label=state.configurations[name].label,
            batch_size=state.configurations[name].settings.train.batch_size,
            seeds=len(state.replicates(name)),
            finished=sum(trial.status == "finished" for trial in state.replicates(name)),
            excluded=sum(trial.status in LOST for trial in state.replicates(name)),
            timing=state.configurations[name].settings.run.timing,
            figures={measure: found[name] for measure, found in means.items() if name in found},
            ratios={measure: found[name] for measure, found in faster.items() if name in found},
        )
        for name in by_batch_size(state)
    ]

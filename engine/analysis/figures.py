"""Computes metrics of configurations over their seeds, for panes, findings and exports.

Pure functions of a `SweepState`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from msgspec.structs import replace

from batchscope.engine.analysis.stack_times import clocks, stacked, timed_trials
from batchscope.engine.analysis.tuning import in_order, rejected
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.fresh_seeds import confirmed
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.gradient_norms import norms_of
from batchscope.engine.metrics.norm_histogram import Pool
from batchscope.engine.metrics.pace import pace
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.plan import alike
from batchscope.engine.spec import Memory, Scaling, Settings

Measure = Callable[[EpochRecord], float | None]
Along = Literal["epochs", "steps", "samples", "seconds", "distance"]


@dataclass(frozen=True, slots=True)
class EpochTime:
    """Seconds of an epoch of a configuration: see `pace_of`.

    `ratio` is the time of the next smaller batch size ÷ this time, among configurations that
    differ only in the batch size, the learning rate or its scaling; None where the smaller one
    was trained in stacks of another size. `stacked` replicates share the time.
    """

    configuration: str
    batch_size: int
    seconds: float
    samples_per_second: float
    ratio: float | None
    stacked: int = 1


def by_batch_size(state: SweepState) -> list[str]:
    """Return the configurations by batch size, then in the order of the preset."""
    ordered = sorted(in_order(state), key=lambda each: each.settings.train.batch_size)
    return [each.id for each in ordered]


def preferred(state: SweepState) -> list[str]:
    """Return the configurations that `[select]` did not reject, ordered as by `by_batch_size`.

    A chosen candidate that is trained again with fresh seeds is left out too: these stand for it.
    """
    aside = rejected(state) | confirmed(state).keys()
    return [name for name in by_batch_size(state) if name not in aside]


def last_values(state: SweepState, configuration: str, measure: Measure) -> list[float]:
    """Return the final value of a metric for every finished replicate."""
    values = []
    for trial in state.replicates(configuration):
        if trial.status != "finished" or trial.last is None:
            continue
        value = measure(trial.last)
        if hasattr(measure, "values"):  # it may depend on earlier epochs
            value = float(measure.values(trial.records)[-1])
        if value is not None and not math.isnan(value):
            values.append(value)
    return values


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation; the latter is None below two values."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def pooled(parts: Iterable[tuple[float, float, int]]) -> tuple[float, float] | None:
    """Compute mean and sample deviation of all values from mean, deviation and count of parts."""
    known = [part for part in parts if part[2] > 0]
    count = sum(n for _, _, n in known)
    if not count:
        return None
    mean = math.fsum(part * n for part, _, n in known) / count
    squares = math.fsum((n - 1) * std**2 + n * (part - mean) ** 2 for part, std, n in known)
    return mean, math.sqrt(squares / (count - 1)) if count > 1 else 0.0


def epoch_times(state: SweepState) -> list[EpochTime]:
    """Return the seconds per epoch of each configuration with a whole epoch, by batch size."""
    times: list[EpochTime] = []
    for name in preferred(state):
        trials = state.replicates(name)
        seconds, rate = pace_of(state, name)
        if seconds is None or rate is None:
            continue
        size = stacked(timed_trials(trials))
        batch_size = trials[0].batch_size
        like = kin(trials[0].settings)
        smaller = [
            time
            for time in times
            if time.batch_size < batch_size
            and kin(state.configurations[time.configuration].settings) == like
        ]
        times.append(
            EpochTime(
                name,
                batch_size,
                seconds,
                rate,
                smaller[-1].seconds / seconds
                if smaller and smaller[-1].stacked == size and seconds > 0
                else None,
                size,
            )
        )
    return times


def kin(settings: Settings) -> Settings:
    """Return the settings that two batch sizes of one experiment share: equal if comparable.

    They may differ in the batch size, the learning rate and its scaling, and in the micro-batch;
    in nothing else, since that might be the cause of a difference.
    """
    train = replace(settings.train, batch_size=1, lr=1.0)
    return replace(settings, train=train, scaling=Scaling(), memory=Memory())


def pace_of(state: SweepState, configuration: str) -> tuple[float | None, float | None]:
    """Return seconds per epoch and samples per second of a configuration: means over its trials.

    A stack counts once. The means are over the finished trials, or over the running ones if none
    has finished.
    """
    means = []
    for members in clocks(state, timed_trials(state.replicates(configuration))).values():
        paces = [pace(state, [trial]) for trial in members]
        known = [(time, rate) for time, rate in paces if time is not None and rate is not None]
        if known:
            means.append(tuple(fmean(values) for values in zip(*known, strict=True)))
    if not means:
        return None, None
    seconds, rate = (fmean(values) for values in zip(*means, strict=True))
    return seconds, rate


def chosen_shape(state: SweepState, trial: TrialState) -> Shape | None:
    """Return the measured memory and speed of the micro-batch size in a trial's plan."""
    plan = state.plans.get(trial.id)
    if plan is None:
        return None
    wanted = alike(trial.settings, plan.share)
    for measured in reversed(state.measured):
        if alike(state.trials[measured.trial].settings, measured.batch_size) == wanted:
            for shape in measured.shapes:
                if shape.micro_batch_size == plan.micro_batch_size:
                    return shape
    return None


def norms(state: SweepState, configuration: str, start: float = 0.0, stop: float = 1.0) -> Pool:
    """Pool the gradient norms of all seeds over a share of the planned steps; see `norms_of`."""
    return Pool(norms_of(trial, start, stop) for trial in state.replicates(configuration))

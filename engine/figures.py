"""Figures of a sweep across seeds: what panes, findings and export all draw.

Pure functions of a `SweepState`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median, stdev

from msgspec.structs import replace

from engine.bins import Norms
from engine.events import EpochRecord
from engine.spec import Memory, Scaling, Settings
from engine.state import SweepState, TrialState

Measure = Callable[[EpochRecord], float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """Mean over the seeds that have reached `x`, with their spread; `n` seeds."""

    x: float
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class EpochTime:
    """Median seconds of an epoch.

    `ratio` is the time of the next smaller batch size over this, among configurations that
    differ in the batch, the rate or its scaling alone.
    """

    configuration: str
    batch_size: int
    seconds: float
    samples_per_second: float
    ratio: float | None


def by_batch_size(state: SweepState) -> list[str]:
    """Configurations in the order of their batch size, then of the preset."""
    return sorted(
        state.configurations,
        key=lambda name: state.configurations[name].settings.train.batch_size,
    )


def curve(state: SweepState, configuration: str, measure: Measure) -> list[Point]:
    """A measure at each epoch: mean, lowest and highest over the seeds that have it."""
    gathered: dict[int, list[float]] = {}
    for trial in state.replicates(configuration):
        for record in trial.records:
            value = measure(record)
            if value is not None and math.isfinite(value):
                gathered.setdefault(record.epoch, []).append(value)
    return [
        Point(epoch, fmean(values), min(values), max(values), len(values))
        for epoch, values in sorted(gathered.items())
    ]


def last_values(state: SweepState, configuration: str, measure: Measure) -> list[float]:
    """The measure at the end of every finished replicate."""
    values = []
    for trial in state.replicates(configuration):
        value = measure(trial.last) if trial.status == "finished" and trial.last else None
        if value is not None:
            values.append(value)
    return values


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the latter is None below two values."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def epoch_times(state: SweepState) -> list[EpochTime]:
    """Epoch time per configuration that has a whole epoch, smaller batch sizes first."""
    times: list[EpochTime] = []
    for name in by_batch_size(state):
        trials = state.replicates(name)
        seconds, rate = pace(state, trials)
        if seconds is None or rate is None:
            continue
        batch_size = trials[0].batch_size
        kin = _but_for_the_batch(trials[0].settings)
        smaller = [
            time
            for time in times
            if time.batch_size < batch_size
            and _but_for_the_batch(state.configurations[time.configuration].settings) == kin
        ]
        times.append(
            EpochTime(
                name,
                batch_size,
                seconds,
                rate,
                smaller[-1].seconds / seconds if smaller and seconds > 0 else None,
            )
        )
    return times


def pace(state: SweepState, trials: list[TrialState]) -> tuple[float | None, float | None]:
    """Median seconds of an epoch, and median samples a second, over the trials' whole epochs.

    The first epoch of a trial pays for warm-up and is left out where there are others; so is
    an epoch that the budget cut short. None where no epoch is left.
    """
    records = [record for trial in trials for record in _whole_epochs(state, trial)]
    if not records:
        return None, None
    rate = median(record.epoch_samples / record.seconds for record in records)
    return median(record.seconds for record in records), rate


def norms(state: SweepState, configuration: str, start: float = 0.0, stop: float = 1.0) -> Norms:
    """Gradient norms over a share of the planned steps, all seeds together.

    A slice counts where its middle lies within `start` <= share < `stop`.
    """
    total = Norms()
    for trial in state.replicates(configuration):
        planned = trial.planned_steps
        for record in trial.records:
            for piece in record.norms:
                middle = piece.first_step + (piece.count + piece.broken) / 2
                share = middle / planned if planned else 0.0
                if start <= share < stop or (stop >= 1.0 and share >= 1.0):
                    total.add(piece)
    return total


def _but_for_the_batch(settings: Settings) -> Settings:
    """The settings without what may differ between two batch sizes of one experiment."""
    train = replace(settings.train, batch_size=1, lr=1.0)
    return replace(settings, train=train, scaling=Scaling(), memory=Memory())


def _whole_epochs(state: SweepState, trial: TrialState) -> list[EpochRecord]:
    data = state.data.get(trial.settings.data.name)
    size = data.train if data else 0
    whole = [r for r in trial.records if r.epoch_samples == size and r.seconds > 0]
    return whole[1:] or whole

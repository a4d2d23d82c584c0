"""Computes the speed of a trial: seconds per epoch, per step, and of the whole training."""

import math
from collections.abc import Iterable

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.sweep_state import SweepState, TrialState


def pace(state: SweepState, trials: Iterable[TrialState]) -> tuple[float | None, float | None]:
    """Return the median seconds per epoch, and the median images per second.

    The medians are over the complete epochs of all trials. The first epoch of a trial includes
    warm-up, so it is left out where there are others, and so is an epoch that the budget cut
    short. None where no epoch is left.
    """
    from batchscope.engine.metrics.epoch_arrays import middle, whole_epochs

    times, rates = [], []
    for trial in trials:
        data = state.data.get(trial.settings.data.name)
        size = training_size(trial.settings.data, data.train) if data else 0
        seconds, samples = whole_epochs(trial.records, size)
        times.append(seconds)
        rates.append(samples / seconds)
    return (middle(times), middle(rates)) if any(map(len, times)) else (None, None)


def epoch_seconds(state: SweepState, trial: TrialState) -> float | None:
    """Return the median seconds of a whole epoch; see `pace`."""
    return pace(state, [trial])[0]


def samples_per_second(state: SweepState, trial: TrialState) -> float | None:
    """Return the median images per second over whole epochs; see `pace`."""
    return pace(state, [trial])[1]


def step_seconds(state: SweepState, trial: TrialState) -> float | None:
    """Return the seconds per optimizer step: the median epoch's seconds ÷ its steps.

    Where the batch size changes during a training, it is the mean over all steps.
    """
    if trial.started and trial.started.total_samples is not None:  # epochs differ in their steps
        total = training_seconds(state, trial)
        return total / trial.last.steps if total and trial.last else None
    seconds = epoch_seconds(state, trial)
    steps = trial.started.steps_per_epoch if trial.started else 0
    return seconds / steps if seconds is not None and steps else None


def training_seconds(_: SweepState, trial: TrialState) -> float | None:
    """Return the seconds of training from the first step to the last, without evaluation."""
    return math.fsum(trial.records.column("seconds")) if trial.records else None

"""Computes the variance that rounding adds: two seeds that happen to agree prove no certainty."""

from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.metric import Rounding
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.schedule.target import has_target

IN_STEPS = 1 / 4
"""The largest variance of a value that is at one of two neighbouring steps, in squared steps.

With 1/12, the variance of a uniform rounding error, a mean between two steps would be missed in up
to 12 % of cases, because all seeds then often agree on the nearer step.
"""
SINGLE_ROUNDING = 1e-6
"""The relative rounding of a figure of float32 values: some eight units in the last place, 2⁻²³."""


def rounding_variance(state: SweepState, trial: TrialState, measure: str, value: float) -> float:
    """Return the variance of the rounding in the value of a measure of a trial.

    A value in steps of size s has a variance of up to s² / 4 even if nearly all seeds agree: it may
    be at either of two neighbouring steps. An accuracy, or a part of the error, is a multiple of
    1 / images, a value that is 0 or 1 has one step, and the cost of a target is counted from one
    check to the next. A gap is the difference of two accuracies. A sum over float32 values depends
    on its order: (10⁻⁶ × value)². Other values are treated as exact.
    """
    metric = TRIAL.get(measure)
    match metric.rounding if metric else Rounding.EXACT:
        case Rounding.FLOAT32:
            return single_variance(value)
        case Rounding.ACCURACY:
            return _of_images(_test_images(state, trial))
        case Rounding.ACCURACY_GAP:
            return 2 * _of_images(_test_images(state, trial))
        case Rounding.VALIDATION_ACCURACY:
            data = state.data.get(trial.settings.data.name)
            return _of_images(validation_size(trial.settings.data, data.train) if data else 0)
        case Rounding.YES_NO:
            return IN_STEPS
        case Rounding.EXACT:
            return 0.0
        case in_steps:
            return IN_STEPS * _between_checks(trial, in_steps) ** 2


def single_variance(value: float) -> float:
    """Return the rounding variance of a sum over float32 values: (10⁻⁶ × value)²."""
    return (SINGLE_ROUNDING * value) ** 2


def _test_images(state: SweepState, trial: TrialState) -> int:
    data = state.data.get(trial.settings.data.name)
    return data.test if data else 0


def _of_images(images: int) -> float:
    """Return the rounding variance of a fraction of images: 1/(4 · images²); 0 without any."""
    return IN_STEPS / images**2 if images else 0.0


def _between_checks(trial: TrialState, rounding: Rounding) -> float:
    """Return the epochs, steps or images from one check of the target to the next.

    0 without a target.
    """
    train, started, last = trial.settings.train, trial.started, trial.last
    if not has_target(train) or started is None:
        return 0.0
    if rounding is Rounding.TARGET_EPOCHS:
        return 1.0
    steps: float = started.steps_per_epoch
    samples: float = steps * trial.batch_size
    if started.total_samples is not None and last:
        steps, samples = last.steps / last.epoch, last.samples / last.epoch
    checks = min(train.target_checks, steps)  # at most one a step
    return (steps if rounding is Rounding.TARGET_STEPS else samples) / checks

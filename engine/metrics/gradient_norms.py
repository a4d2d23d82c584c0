"""Gradient norms of a trial, over the whole run or a share of its planned steps."""

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.norm_histogram import Norms

EARLY, LATE = (0.0, 0.2), (0.8, 1.0)
"""The first and the last fifth of the planned steps."""


def norms_of(trial: TrialState, start: float = 0.0, stop: float = 1.0) -> Norms:
    """Return the gradient norms of one trial over a share of its planned steps.

    A slice of norms counts if its middle lies in `start` <= share < `stop`; with a `stop` of 1 it
    may also lie beyond.
    """
    from batchscope.engine.metrics.epoch_arrays import norms_between

    return norms_between(trial.records, trial.planned_steps, start, stop)


def grad_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Return the mean gradient norm over all steps."""
    return norms_of(trial).mean


def grad_norm_cv(_: SweepState, trial: TrialState) -> float | None:
    """Return the coefficient of variation of all gradient norms: deviation (n − 1) ÷ mean.

    Norms rescaled to a common mean, as in Shen 2018, differ only in this.
    """
    return norms_of(trial).cv


def grad_norm_mean_early(_: SweepState, trial: TrialState) -> float | None:
    """Return the mean gradient norm over the first fifth of the planned steps."""
    return norms_of(trial, *EARLY).mean


def grad_norm_mean_late(_: SweepState, trial: TrialState) -> float | None:
    """Return the mean gradient norm over the last fifth of the planned steps."""
    return norms_of(trial, *LATE).mean


def grad_norm_cv_early(_: SweepState, trial: TrialState) -> float | None:
    """Return `grad_norm_cv` of the first fifth of the planned steps."""
    return norms_of(trial, *EARLY).cv


def grad_norm_cv_late(_: SweepState, trial: TrialState) -> float | None:
    """Return `grad_norm_cv` of the last fifth of the planned steps."""
    return norms_of(trial, *LATE).cv

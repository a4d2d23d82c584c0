"""What a claim may measure: the numeric columns of `trials.csv`, and findings with a name.

Each is one number a trial, or none where it was not measured.
"""

import math
from collections.abc import Callable

from batchscope.engine.analysis.bias_variance import (
    bias,
    net_variance,
    variance,
    variance_biased,
    variance_unbiased,
)
from batchscope.engine.analysis.distances import (
    distance_at_equal_samples,
    distance_log_r2,
    distance_log_slope,
    distance_power,
    path_per_sample,
    update_norm_mean,
)
from batchscope.engine.analysis.figures import noise_over, norms_of, pace
from batchscope.engine.analysis.probe_values import OWN, Spot, probed_value
from batchscope.engine.analysis.stack_times import TIMED
from batchscope.engine.analysis.tables import Value, trial_row
from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.experiment.measure_names import (
    ACCURACIES,
    FINDING_NAMES,
    PROBED,
    SHARPNESS,
)
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.schedule.target import has_target

Finding = Callable[[SweepState, TrialState], float | None]

EARLY, LATE = (0.0, 0.2), (0.8, 1.0)
"""The first and the last fifth of the planned steps."""


def step_seconds(state: SweepState, trial: TrialState) -> float | None:
    """Seconds of an optimizer step: the median epoch's time over its steps.

    Where the batch size changes, the mean over all steps.
    """
    if trial.started and trial.started.total_samples is not None:  # epochs differ in their steps
        whole = training_seconds(state, trial)
        return whole / trial.last.steps if whole and trial.last else None
    seconds, _ = pace(state, [trial])
    steps = trial.started.steps_per_epoch if trial.started else 0
    return seconds / steps if seconds is not None and steps else None


def training_seconds(_: SweepState, trial: TrialState) -> float | None:
    """Seconds of training from the first step to the last, evaluation left out."""
    return math.fsum(trial.records.column("seconds")) if trial.records else None


def noise_scale_growth(_: SweepState, trial: TrialState) -> float | None:
    """Gradient noise scale of the second half of the planned steps ÷ that of the first.

    Each is a ratio of averages; None where one of them is undetermined.
    """
    first, second = noise_over([trial], 0.0, 0.5).scale, noise_over([trial], 0.5, 1.0).scale
    return second / first if first and second is not None else None


def weight_norm(_: SweepState, trial: TrialState) -> float | None:
    """L2 norm of the last weights."""
    return trial.last.weight_norm if trial.last else None


def grad_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Mean gradient norm over all steps."""
    return norms_of(trial).mean


def grad_norm_cv(_: SweepState, trial: TrialState) -> float | None:
    """Coefficient of variation of the gradient norms of all steps: std (n − 1) ÷ mean.

    Norms rescaled to a common mean, as in Shen 2018, differ in this alone.
    """
    return norms_of(trial).cv


def grad_norm_mean_early(_: SweepState, trial: TrialState) -> float | None:
    """Mean gradient norm over the first fifth of the planned steps."""
    return norms_of(trial, *EARLY).mean


def grad_norm_mean_late(_: SweepState, trial: TrialState) -> float | None:
    """Mean gradient norm over the last fifth of the planned steps."""
    return norms_of(trial, *LATE).mean


def grad_norm_cv_early(_: SweepState, trial: TrialState) -> float | None:
    """`grad_norm_cv` of the first fifth of the planned steps."""
    return norms_of(trial, *EARLY).cv


def grad_norm_cv_late(_: SweepState, trial: TrialState) -> float | None:
    """`grad_norm_cv` of the last fifth of the planned steps."""
    return norms_of(trial, *LATE).cv


FINDINGS: dict[str, Finding] = {
    "step_seconds": step_seconds,
    "training_seconds": training_seconds,
    "noise_scale_growth": noise_scale_growth,
    "weight_norm": weight_norm,
    "grad_norm_mean": grad_norm_mean,
    "grad_norm_mean_early": grad_norm_mean_early,
    "grad_norm_mean_late": grad_norm_mean_late,
    "grad_norm_cv": grad_norm_cv,
    "grad_norm_cv_early": grad_norm_cv_early,
    "grad_norm_cv_late": grad_norm_cv_late,
    "update_norm_mean": update_norm_mean,
    "path_per_sample": path_per_sample,
    "distance_at_equal_samples": distance_at_equal_samples,
    "distance_log_slope": distance_log_slope,
    "distance_log_r2": distance_log_r2,
    "distance_power": distance_power,
    "bias": bias,
    "variance": variance,
    "variance_unbiased": variance_unbiased,
    "variance_biased": variance_biased,
    "net_variance": net_variance,
}
assert tuple(FINDINGS) == FINDING_NAMES

SINGLE_PRECISION = (
    "init_norm",
    "distance_from_init",
    "path_length",
    *(name for name in FINDINGS if name not in (*TIMED, *ACCURACIES)),
    *PROBED,
    SHARPNESS,
)
"""Norms, distances and what is drawn: figures of weights and gradients, which are float32."""
SINGLE_ROUNDING = 1e-6
"""The share of such a figure that is rounding: some eight units in the last place, 2⁻²³ each."""


def value_of(state: SweepState, trial: TrialState, measure: str, spot: Spot = OWN) -> float | None:
    """The measure of one trial; None where it is not known or not finite.

    `spot` says where in the training a measure of the probe is read, and in which box the
    sharpness.
    """
    value: Value
    if measure in PROBED:
        value = probed_value(trial, measure, spot)
    elif measure == SHARPNESS:
        measured = trial.sharpness_at(spot.epsilon)
        value = measured.sharpness if measured else None
    elif measure in FINDINGS:
        value = FINDINGS[measure](state, trial)
    else:
        value = trial_row(state, trial).get(measure)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def rounding_variance(state: SweepState, trial: TrialState, measure: str, value: float) -> float:
    """Variance of the rounding in a figure: step² / 12 where it comes in steps.

    An accuracy, or a part of the error, comes in images over their count, and what a target ends is
    counted from one check of it to the next. A gap is the difference of two accuracies. Sums over
    float32 depend on their order: (10⁻⁶ × value)². Other figures are as good as exact.
    """
    if measure in SINGLE_PRECISION:
        return single_variance(value)
    if measure in ACCURACIES:
        data = state.data.get(trial.settings.data.name)
        figures = 2 if measure == "generalization_gap" else 1
        images = data.test if data else 0
        if data and measure == "validation_accuracy":
            images = validation_size(trial.settings.data, data.train)
        return figures / images**2 / 12 if images else 0.0
    if not has_target(trial.settings.train) or trial.started is None:
        return 0.0
    checks: float = trial.settings.train.target_checks
    steps: float = trial.started.steps_per_epoch
    samples: float = steps * trial.batch_size
    if trial.started.total_samples is not None and trial.last:
        steps, samples = trial.last.steps / trial.last.epoch, trial.last.samples / trial.last.epoch
    checks = min(checks, steps)  # at most one a step
    apart = {"epochs": 1.0, "steps": steps / checks, "samples": samples / checks}
    return apart.get(measure.removesuffix("_to_target"), 0.0) ** 2 / 12


def single_variance(value: float) -> float:
    """Variance of the rounding in a figure that was computed from float32: (10⁻⁶ × value)²."""
    return (SINGLE_ROUNDING * value) ** 2

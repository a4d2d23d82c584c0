"""What a claim may measure: the numeric columns of `trials.csv`, and findings with a name.

Each is one number a trial, or none where it was not measured.
"""

import math
from collections.abc import Callable

from engine.bins import Norms
from engine.export.tables import TEXT_COLUMNS, TRIAL_COLUMNS, trial_row
from engine.figures import pace
from engine.state import SweepState, TrialState

Finding = Callable[[SweepState, TrialState], float | None]

ACCURACIES = ("test_accuracy", "train_accuracy", "best_test_accuracy", "generalization_gap")


def step_seconds(state: SweepState, trial: TrialState) -> float | None:
    """Seconds of an optimizer step: the median epoch's time over its steps."""
    seconds, _ = pace(state, [trial])
    steps = trial.started.steps_per_epoch if trial.started else 0
    return seconds / steps if seconds is not None and steps else None


def training_seconds(_: SweepState, trial: TrialState) -> float | None:
    """Seconds of training from the first step to the last, evaluation left out."""
    return math.fsum(record.seconds for record in trial.records) if trial.records else None


def weight_norm(_: SweepState, trial: TrialState) -> float | None:
    """L2 norm of the last weights."""
    return trial.last.weight_norm if trial.last else None


def grad_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Mean gradient norm over all steps."""
    return _norms(trial).mean


def grad_norm_cv(_: SweepState, trial: TrialState) -> float | None:
    """Coefficient of variation of the gradient norms of all steps."""
    return _norms(trial).cv


FINDINGS: dict[str, Finding] = {
    "step_seconds": step_seconds,
    "training_seconds": training_seconds,
    "weight_norm": weight_norm,
    "grad_norm_mean": grad_norm_mean,
    "grad_norm_cv": grad_norm_cv,
}
MEASURES = (*(name for name in TRIAL_COLUMNS if name not in TEXT_COLUMNS), *FINDINGS)


def value_of(state: SweepState, trial: TrialState, measure: str) -> float | None:
    """The measure of one trial; None where it is not known or not finite."""
    finding = FINDINGS.get(measure)
    found = finding(state, trial) if finding else trial_row(state, trial).get(measure)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if math.isfinite(found) else None


def rounding_variance(state: SweepState, trial: TrialState, measure: str) -> float:
    """Variance of the rounding in a figure that comes in steps: step² / 12.

    An accuracy is a whole number of images over their count, and what a target accuracy ends is
    counted in whole epochs. A gap is the difference of two accuracies. Other figures are as good
    as continuous.
    """
    if measure in ACCURACIES:
        data = state.data.get(trial.settings.data.name)
        figures = 2 if measure == "generalization_gap" else 1
        return figures / data.test**2 / 12 if data and data.test else 0.0
    if trial.settings.train.target_accuracy is None or trial.started is None:
        return 0.0
    steps = trial.started.steps_per_epoch
    epoch = {"epochs": 1, "steps": steps, "samples": steps * trial.batch_size}.get(measure, 0)
    return epoch**2 / 12


def _norms(trial: TrialState) -> Norms:
    return Norms(piece for record in trial.records for piece in record.norms)

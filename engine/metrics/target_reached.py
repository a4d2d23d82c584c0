"""Finds the steps, images and seconds that a trial needed to reach its target."""

from typing import NamedTuple

from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.schedule.target import ACCURACY, LOSS, has_target, judged_on, target_of


class Reached(NamedTuple):
    """Totals until a trial reached its target: steps, images and seconds of training."""

    steps: int
    samples: int
    seconds: float


def reached(trial: TrialState) -> Reached | None:
    """Return the cost of the target for a finished trial; None if it has no target or missed it."""
    totals = _totals(trial)
    return totals if totals and _is_met(trial) else None


def missed_after(trial: TrialState) -> Reached | None:
    """Return what a finished trial used without reaching its target; None if it did, or has none.

    Its cost of the target is above that: it is a censored value.
    """
    totals = _totals(trial)
    return totals if totals and has_target(trial.settings.train) and not _is_met(trial) else None


def _totals(trial: TrialState) -> Reached | None:
    last = trial.last
    if trial.status != "finished" or last is None:
        return None
    return Reached(last.steps, last.samples, sum(trial.records.column("seconds")))


def _is_met(trial: TrialState) -> bool:
    target = target_of(trial.settings)
    return target is not None and target.is_met(_judged(trial, target.metric))


def _judged(trial: TrialState, metric: str) -> float | None:
    """Return the value of the last epoch that is compared with the target."""
    last = trial.last
    if last is None:
        return None
    held = last.validation_accuracy is not None or last.validation_loss is not None
    part = "validation" if held else judged_on(trial.settings)
    if metric not in (ACCURACY, LOSS):
        return last.metrics.get(f"{part}_{metric}")
    value: float | None = getattr(last, f"{part}_{metric}")
    return value

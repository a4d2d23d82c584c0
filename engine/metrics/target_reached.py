"""Finds the steps, images and seconds that a trial needed to reach its target."""

from typing import NamedTuple

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.schedule.target import has_target, is_met


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
    loss, accuracy = _judged(trial.last) if trial.last else (None, None)
    return is_met(trial.settings.train, loss, accuracy)


def _judged(record: EpochRecord) -> tuple[float | None, float | None]:
    """Return the loss and the accuracy of an epoch that are compared with the target."""
    if record.validation_accuracy is not None:
        return record.validation_loss, record.validation_accuracy
    return record.test_loss, record.test_accuracy

"""Finds the steps, images and seconds that a trial needed to reach its target."""

from typing import NamedTuple

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.schedule.target import is_met


class Reached(NamedTuple):
    """Totals until a trial reached its target: steps, images and seconds of training."""

    steps: int
    samples: int
    seconds: float


def reached(trial: TrialState) -> Reached | None:
    """Return the cost of the target for a finished trial; None if it has no target or missed it."""
    train, last = trial.settings.train, trial.last
    if trial.status != "finished" or last is None:
        return None
    loss, accuracy = _judged(last)
    if not is_met(train, loss, accuracy):
        return None
    return Reached(last.steps, last.samples, sum(trial.records.column("seconds")))


def _judged(record: EpochRecord) -> tuple[float | None, float | None]:
    """Return the loss and the accuracy of an epoch that are compared with the target."""
    if record.validation_accuracy is not None:
        return record.validation_loss, record.validation_accuracy
    return record.test_loss, record.test_accuracy

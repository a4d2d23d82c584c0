"""Reads the highest learning rate that a trial really used; a warmup can keep it below `lr`."""

from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.schedule.course import Course
from batchscope.engine.schedule.reached_rate import highest_rate

ROUNDING = 1e-9


def lr_reached(state: SweepState, trial: TrialState) -> float | None:
    """Return the highest learning rate of the steps until the last epoch ended; None before that.

    Journals of earlier versions do not have it. It is then computed from schedule and steps, except
    for a budget in seconds, whose schedule depends on the machine.
    """
    last, data = trial.last, state.data.get(trial.settings.data.name)
    if last is None:
        return None
    if last.highest_lr is not None or data is None:
        return last.highest_lr
    course = Course(trial.settings, training_size(trial.settings.data, data.train))
    return highest_rate(course, last.steps)


def lr_short(state: SweepState, trial: TrialState) -> float | None:
    """Return the highest learning rate that was used if it is below `lr`; otherwise None."""
    reached = lr_reached(state, trial)
    if trial.started is None or reached is None:
        return None
    return reached if reached < trial.started.lr * (1 - ROUNDING) else None


def short_of_rate(state: SweepState, trial: TrialState) -> str:
    """Return in words that a trial ended before it had the highest rate of its budget.

    Empty if it did not. A shortfall that the settings determine was a warning at the start.
    """
    short, data = lr_short(state, trial), state.data.get(trial.settings.data.name)
    if short is None or trial.started is None or trial.last is None or data is None:
        return ""
    course = Course(trial.settings, training_size(trial.settings.data, data.train))
    planned = highest_rate(course)
    if planned is not None and short >= planned * (1 - ROUNDING):
        return ""
    return (
        f"the training ended after {trial.last.steps:,} steps, and the highest learning rate of "
        f"any of them was {short:.4g}, not {trial.started.lr:.4g}, because of "
        f"scaling.warmup_epochs = {trial.settings.scaling.warmup_epochs:g}"
    )

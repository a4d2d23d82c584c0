"""The metrics of tasks: every task has its own, so they are found in a state, not in the registry.

A metric NAME of a task is `train_NAME`, `test_NAME` and `validation_NAME` in tables and claims. A
metric that is called `accuracy` takes the place of the accuracy on images instead.
"""

import math
import re
from typing import TYPE_CHECKING

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.epoch_metrics import Field, Figure
from batchscope.engine.metrics.metric import Better, EpochMetric, TrialMetric

if TYPE_CHECKING:
    from batchscope.engine.metrics.epoch_arrays import Floats

ACCURACY = "accuracy"
PARTS = {"train": "training", "test": "test", "validation": "validation"}
NAME = re.compile(rf"(?:{'|'.join(PARTS)})_[^\W\d]\w*")


class Named(Figure):
    """A metric of a task at the end of an epoch."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the value of one epoch; None where it is not known."""
        return record.metrics.get(self._name)

    def values(self, records: Records) -> "Floats":
        """Return the value of every epoch, (epochs,); NaN where it is not known."""
        import numpy as np

        return np.array(records.named(self._name), dtype=np.float64)


EMPTY = (
    "batches of a task so far that had no weight: they are counted among `steps`, and change no "
    "weights"
)
EMPTY_IN_EPOCHS = EpochMetric(
    name="empty_batches", unit="count", definition=EMPTY, figure=Field("empty_batches")
)
EMPTY_IN_TRIALS = TrialMetric(
    name="empty_batches",
    unit="count",
    definition=EMPTY,
    value=lambda _, trial: trial.last.empty_batches if trial.last else None,
)


def is_task_metric(measure: str) -> bool:
    """Return whether a name can be that of a metric of a task."""
    return NAME.fullmatch(measure) is not None


def task_epoch_columns(state: SweepState) -> tuple[EpochMetric, ...]:
    """Return the columns that the tasks of a sweep add to `epochs.csv`."""
    has_task = any(ready.task for ready in state.data.values())
    return (*([EMPTY_IN_EPOCHS] * has_task), *task_epoch_metrics(state))


def task_trial_columns(state: SweepState) -> tuple[TrialMetric, ...]:
    """Return the columns that the tasks of a sweep add to `trials.csv`."""
    has_task = any(ready.task for ready in state.data.values())
    return (*([EMPTY_IN_TRIALS] * has_task), *task_trial_metrics(state))


def task_epoch_metrics(state: SweepState) -> tuple[EpochMetric, ...]:
    """Return the metrics of the tasks of a sweep, as columns of `epochs.csv`."""
    directions: dict[str, Better] = {}
    for ready in state.data.values():
        for name, better in ready.task.metrics if ready.task else ():
            if name != ACCURACY:
                directions.setdefault(name, "lower" if better == "lower" else "higher")
    return tuple(
        EpochMetric(
            name=f"{part}_{name}",
            unit="",
            title=f"{title} {name.replace('_', ' ')}",
            tab=name.replace("_", " "),
            better=better,
            definition=f"metric `{name}` of the task on {title} data",
            figure=Named(f"{part}_{name}"),
        )
        for name, better in directions.items()
        for part, title in PARTS.items()
    )


def task_trial_metrics(state: SweepState) -> tuple[TrialMetric, ...]:
    """Return the metrics of the tasks of a sweep, as columns of `trials.csv`."""
    return tuple(
        TrialMetric(
            name=each.name,
            unit=each.unit,
            title=each.title,
            tab=each.tab,
            better=each.better,
            definition=f"{each.definition}, at the end of the last epoch",
            value=lambda _, trial, name=each.name: task_value(trial.last, name),  # type: ignore[misc]
        )
        for each in task_epoch_metrics(state)
    )


def task_value(record: EpochRecord | None, measure: str) -> float | None:
    """Return a metric of a task in an epoch; None where it is not known or not finite."""
    value = record.metrics.get(measure) if record else None
    return value if value is not None and math.isfinite(value) else None


def task_better(state: SweepState, measure: str) -> Better:
    """Return which direction of a metric of a task is better; empty if it is not known."""
    found = (each.better for each in task_epoch_metrics(state) if each.name == measure)
    return next(found, "")

"""The figure by which an epoch is told in a line: its accuracy, another metric, or its loss."""

from typing import NamedTuple

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.task_table import TaskTable

ACCURACY, LOSS = "accuracy", "loss"
TINY = 1e-3
"""Below this, four decimals leave out digits that count."""


class Headline(NamedTuple):
    """An epoch's accuracy; without one, the first metric of its task, or else its loss.

    Attributes:
        name: `accuracy`, `loss`, or the name of a metric of a task.
        train: its value on training data; None if it is not finite.
        test: its value on test data, or on validation data where there are no test data.
        part: `test` or `validation`; empty if there are neither.
    """

    name: str
    train: float | None
    test: float | None
    part: str

    @property
    def shown(self) -> str:
        """Return the most telling value, with four digits: that of `part`, or else of training."""
        return number(self.test if self.part else self.train)

    @property
    def text(self) -> str:
        """Return the value with its name: `test accuracy 0.9412`."""
        return f"{self.part or 'training'} {self.name.replace('_', ' ')} {self.shown}"


def headline_name(task: TaskTable | None) -> str:
    """Return the name of the metric by which a training is told.

    It is the accuracy where there is one, otherwise the first metric that the task names, otherwise
    the loss, which is also the name until the task's function has been run.
    """
    if task is None:
        return ACCURACY
    names = [name for name, _ in task.facts.metrics] if task.facts else []
    return ACCURACY if ACCURACY in names else next(iter(names), LOSS)


def headline(record: EpochRecord, task: TaskTable | None = None) -> Headline:
    """Return the headline of an epoch.

    Args:
        record: the epoch.
        task: the task that was trained, if it is one.
    """
    name = headline_name(task)
    if name == ACCURACY and record.train_accuracy is None:
        name = LOSS
    train, test, held = (metric_of(record, part, name) for part in ("train", "test", "validation"))
    if test is not None or held is None:
        return Headline(name, train, test, "" if test is None else "test")
    return Headline(name, train, held, "validation")


def metric_of(record: EpochRecord, part: str, name: str) -> float | None:
    """Return a metric of an epoch on a part of the data: `train`, `test` or `validation`."""
    if name in (ACCURACY, LOSS):
        value: float | None = getattr(record, f"{part}_{name}")
        return value
    return record.metrics.get(f"{part}_{name}")


def number(value: float | None) -> str:
    """Return a value with four decimals, or with so many digits if it is large or tiny.

    `-` stands for a value that is not known.
    """
    if value is None:
        return "-"
    if value and abs(value) < TINY:
        return f"{value:.2e}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"

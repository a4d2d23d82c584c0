"""The metric by which the results of a sweep are told: curves, bars, tables, findings and report.

It is the accuracy where there is one; otherwise the first metric that the task names; otherwise the
loss.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.headline import ACCURACY, LOSS, metric_of
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.task_table import TaskTable

Part = Literal["test", "validation", "train"]
IN_WORDS: dict[str, str] = {"train": "training", "test": "test", "validation": "validation"}


class PrimaryMetric(NamedTuple):
    """A metric, where it is measured, and which direction of it is better.

    Attributes:
        name: `accuracy`, `loss`, or the name of a metric of a task.
        part: the data on which results are compared: those for tests, or else those held out, or
            else, where a task brings neither, the training data.
        better: `higher` or `lower`.
    """

    name: str
    part: Part = "test"
    better: Literal["higher", "lower"] = "higher"

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the accuracy, which is shown in percent."""
        return self.name == ACCURACY

    @property
    def measure(self) -> str:
        """Its name among the metrics: `test_mae`."""
        return f"{self.part}_{self.name}"

    @property
    def train_measure(self) -> str:
        """The name of the same on training data: `train_mae`."""
        return f"train_{self.name}"

    @property
    def word(self) -> str:
        """Its name without the data: `mae`."""
        return self.name.replace("_", " ")

    @property
    def part_word(self) -> str:
        """The data on which it is measured, in words: `training`."""
        return IN_WORDS[self.part]

    @property
    def title(self) -> str:
        """Its name in words: `test mae`."""
        return f"{self.part_word} {self.word}"

    @property
    def train_title(self) -> str:
        """The same on training data, in words: `training mae`."""
        return f"{IN_WORDS['train']} {self.word}"

    @property
    def unit(self) -> str:
        """The unit in which people read it: `%` for an accuracy, otherwise none is known."""
        return "%" if self.is_accuracy else ""

    @property
    def direction(self) -> str:
        """Which direction is better, in words; empty for an accuracy, where everybody knows."""
        return "" if self.is_accuracy else f"{self.better} is better"

    @property
    def described(self) -> str:
        """The title and the direction: `test mae, lower is better`."""
        return ", ".join(filter(None, (self.title, self.direction)))

    def of_task(self, name: str, better: str) -> "PrimaryMetric":
        """Return another metric of the same task, on the same data."""
        return self._replace(name=name, better="lower" if better == "lower" else "higher")

    def of(self, record: EpochRecord) -> float | None:
        """Return its value in an epoch; None where it is not known."""
        return metric_of(record, self.part, self.name)

    def on_training_data(self, record: EpochRecord) -> float | None:
        """Return its value on training data; None where it is not known."""
        return metric_of(record, "train", self.name)


def primary_metric(state: SweepState) -> PrimaryMetric:
    """Return the metric by which a sweep is told.

    Tasks with different metrics are told by the first one that all of them name. Until the function
    of a task has been run, it is the loss.
    """
    return primary_of(each.settings.task for each in state.configurations.values())


def primary_of(tasks: Iterable[TaskTable | None]) -> PrimaryMetric:
    """Return the metric by which configurations with these tasks are told.

    Args:
        tasks: the tasks; None is an included network.
    """
    known = list(dict.fromkeys(tasks))
    own = [task for task in known if task is not None]
    if not own:
        return PrimaryMetric(ACCURACY)
    facts = [task.facts for task in own if task.facts]
    test = not facts or any(each.test for each in facts)
    held = any(each.validation for each in facts) or any(task.validation for task in own)
    part: Part = "test" if test else "validation" if held else "train"
    shared = [
        (name, better)
        for name, better in (facts[0].metrics if facts else ())
        if all(name in dict(each.metrics) for each in facts)
        and (name == ACCURACY or own == known)  # included networks have an accuracy and a loss
    ]
    if not shared:
        return PrimaryMetric(LOSS, part, "lower")
    name, better = next((each for each in shared if each[0] == ACCURACY), shared[0])
    return PrimaryMetric(name, part, "lower" if better == "lower" else "higher")

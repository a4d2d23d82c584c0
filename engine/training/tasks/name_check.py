"""Tells which names a preset may use of a task: its metrics, layers, and whether it has classes."""

import torch

from batchscope.engine.errors import printable
from batchscope.engine.task import Task
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.training.tasks.check_row import CheckRow, Verdict
from batchscope.engine.training.tasks.class_errors import class_errors
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.trained_parameters import owners

NAMED = 8


class NameCheck:
    """Collects what targets, claims and `[select]` of a preset may name.

    Args:
        task: the task.
        size: the most samples that are run.
    """

    def __init__(self, task: Task, size: int) -> None:
        self._task, self._size, self._classes = task, size, 0

    def classes(self) -> tuple[Verdict, str] | None:
        """Say how many classes are predicted, where the task gives their scores.

        Raises:
            TaskProblem: `scores` returns something else.
        """
        task, model = self._task, self._task.model
        if task.scores is None:
            return None
        of = "train" if task.test is None else "test"
        data = TaskData(of, getattr(task, of), task.collate)
        batch = data.batch(torch.arange(min(self._size, data.size)))
        trained = [module for module in model.modules() if module.training]
        model.eval()
        try:
            found = class_errors(task.scores, model, batch)
        finally:
            for module in trained:
                module.training = True
        self._classes = found.classes
        if task.test is None:
            return "note", f"{found.classes} classes, but bias and variance need test data"
        missed = int(torch.count_nonzero(found.missed))
        return "ok", (
            f"{found.classes} classes; before training, {missed} of {len(found.missed)} "
            "predictions are wrong"
        )

    def row(self) -> CheckRow:
        """Return the row with all names; to be called after `classes`."""
        facts = TaskFacts(
            train=self._samples("train"),
            validation=self._samples("validation"),
            test=self._samples("test"),
            metrics=tuple(
                (name, self._task.better.get(name, "higher")) for name in self._task.metrics
            ),
            layers=tuple(name for name, _, _ in owners(self._task.model)),
            classes=self._classes,
        )
        layers, more = ", ".join(facts.layers[:NAMED]), len(facts.layers) - NAMED
        text = f"metrics: {', '.join(('loss', *self._task.metrics))}; layers: {layers}"
        text += f" and {more} more" if more > 0 else ""
        return CheckRow(name="names", verdict="ok", text=printable(text), facts=facts)

    def _samples(self, part: str) -> int:
        data = getattr(self._task, part)
        return 0 if data is None else TaskData(part, data, self._task.collate).size

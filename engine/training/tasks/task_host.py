"""Imports a task's function once in a process, and makes tasks with it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batchscope.engine.task import Summed, Task, TaskProblem
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.tasks.reference import check_arguments, find_task
from batchscope.engine.training.tasks.accepted_model import accepted, is_compiled
from batchscope.engine.training.tasks.error_place import explained, named, place_of
from batchscope.engine.training.tasks.function_loader import load_function, made


class TaskHost:
    """A task's function, imported once in this process.

    Args:
        table: the `[task]` table.
        folder: the folder that its module is imported from.
        known: SHA-256 of its modules, as a worker before has recorded them.

    Raises:
        CodeRefused: the code has changed, or may not be run; the sweep stops.
        Problem: it cannot be imported.
    """

    def __init__(
        self, table: TaskTable, folder: Path, known: Mapping[str, str] | None = None
    ) -> None:
        self.table, self.name, self.code = table, table.name, CodeDigests(folder, known)
        reference = find_task(table.use, self.code.folder)
        check_arguments(reference, [name for name, _ in table.arguments])
        os.chdir(self.code.folder)
        self.code.install()
        self._function = load_function(reference, self.code)
        self._place = place_of(self._function)
        self._loss: Summed | None = None
        self.compiled = False
        """Whether the model of the last task was compiled, which it no longer is."""

    def made(self, seed: int) -> Task:
        """Return the task for a seed, with its model as it can be trained.

        Raises:
            TaskProblem: the function fails, or its model cannot be trained here.
        """
        task = made(self._function, seed, dict(self.table.arguments), self.code)
        self._loss, self.compiled = task.loss, is_compiled(task.model)
        with self.at_the_function():
            return replace(task, model=accepted(task.model))

    @contextmanager
    def at_the_function(self) -> Iterator[None]:
        """Name the task's function in every `TaskProblem` of the body: it brought what is wrong.

        Raises:
            TaskProblem: that of the body.
        """
        try:
            yield
        except TaskProblem as problem:
            where = self._place
            raise TaskProblem(f"{where}: {problem}" if where else str(problem)) from problem

    def explained(self, error: BaseException) -> str:
        """Return what went wrong in a training, with file and line of the person's code."""
        return self.placed(explained(error, self.code, self.beside))

    def placed(self, text: str) -> str:
        """Return what is wrong with an argument of `Task` with the place of the task's function."""
        return f"{self._place}: {text}" if text.startswith("Task(") and self._place else text

    @property
    def beside(self) -> str:
        """Where to look for an error that comes from no line of the person's code: at the loss."""
        if self._loss is None or not place_of(self._loss):
            return f"{self._place}: loss" if self._place else "loss"
        return named("loss", self._loss)

"""Imports a task's function once in a process, and makes tasks with it."""

import os
from collections.abc import Mapping
from pathlib import Path

from batchscope.engine.spec import TaskTable
from batchscope.engine.task import Task
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.tasks.reference import check_arguments, find_task
from batchscope.engine.training.tasks.loading import load_function, made, refuse_model


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

    def made(self, seed: int) -> Task:
        """Return the task for a seed.

        Raises:
            TaskProblem: the function fails, or its model cannot be trained here.
        """
        task = made(self._function, seed, dict(self.table.arguments), self.code)
        refuse_model(task.model)
        return task

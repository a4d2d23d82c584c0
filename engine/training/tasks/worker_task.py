"""The task that a worker trains: it runs a person's code, watches it, and says where it fails."""

from collections.abc import Callable
from pathlib import Path

import torch

from batchscope.engine.journal.events import CodeLoaded
from batchscope.engine.processes import orders
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks.data_size import refuse_large
from batchscope.engine.training.tasks.error_place import explained
from batchscope.engine.training.tasks.exit_guard import guard_exit
from batchscope.engine.training.tasks.fork_guard import guard
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.tasks.task_host import TaskHost
from batchscope.engine.training.tasks.watchdog import Watchdog, taken


class WorkerTask:
    """A person's code in a worker. Afterwards the worker needs a fresh interpreter.

    To be made in the thread that trains.

    Args:
        table: the `[task]` table.
        folder: the folder that its module is imported from.
        events: the descriptor of the worker's events, which children of the code must not write to.
        seconds: how long one call of the code may take before that is said.
        said: takes what a person should know of the trial, in another thread.
        left: takes what happened where the code left the process with `os._exit`.

    Raises:
        CodeRefused: the folder is a link now, or others may write to it.
    """

    def __init__(
        self,
        table: TaskTable,
        folder: str,
        events: int,
        seconds: float,
        said: Callable[[str], None],
        left: Callable[[str], None],
    ) -> None:
        self._table, self._folder, self._seconds, self._said = table, folder, seconds, said
        self._host: TaskHost | None = None
        self._told = set[str]()
        self._code = CodeDigests(Path(folder))
        guard(events)
        guard_exit(self._code, left)
        self._watchdog = Watchdog(seconds, self._long, self._code)

    def opened(self, order: orders.Work, held: int, device: torch.device) -> TaskDataset:
        """Return the data of an order's first trial, made with its seed.

        Args:
            order: what to measure or train.
            held: the number of training samples to hold out.
            device: where to train.

        Raises:
            TaskProblem: the task cannot be made, or its data cannot be used.
            CodeRefused: the code has changed, or may not be run.
        """
        if self._host is None:
            facts = order.data.task
            known = dict(facts.digests) if facts else {}
            self._host = TaskHost(self._table, Path(self._folder), known)
        seed = order.members[0].seed
        task = self._host.made(seed)
        with self._host.at_the_function():
            if isinstance(order, orders.Measure) and order.limit_bytes is not None:
                refuse_large(task, order.limit_bytes)
            return TaskDataset(
                task,
                seed,
                device,
                held,
                self._table.loaders,
                self._host.code,
                self._said,
                self._seconds,
            )

    def loaded_lately(self) -> CodeLoaded | None:
        """Return an event about modules that no worker before has imported, if there are any.

        It is to be sent with the next event, since a trial that is killed may be resumed with other
        code.
        """
        lately = self._host.code.loaded_lately() if self._host else {}
        digests = {name: each for name, each in lately.items() if name not in self._told}
        if not digests:
            return None
        self._told |= digests.keys()
        return CodeLoaded(name=self._table.name, digests=tuple(sorted(digests.items())))

    def explained(self, error: BaseException) -> str:
        """Return what went wrong, with file and line of the person's code."""
        return self._host.explained(error) if self._host else explained(error, self._code)

    def _long(self, place: str) -> None:
        self._said(f"{place}: {taken(self._seconds)}")

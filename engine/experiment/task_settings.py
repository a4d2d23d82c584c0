"""Puts a preset's `[task]` in the place of `[data]` and `[model]`, and refuses what cannot be."""

from pathlib import Path
from typing import Any

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.fields import field_types
from batchscope.engine.networks.task import TASK
from batchscope.engine.spec import Settings
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.reference import RESERVED, TaskReference, check_arguments, find_task


def stand_in(tables: dict[str, dict[str, Any]], where: str) -> None:
    """Complete the tables of a preset with a task: its arguments, and names for data and model.

    Args:
        tables: the tables of one configuration; changed in place.
        where: the file, for messages.

    Raises:
        UsageProblem: there is `[data]` or `[model]` too, or an argument has a name that is taken.
    """
    for name in ("data", "model"):
        if tables[name]:
            raise UsageProblem(
                f"{where}: {name}: [task] brings data and model; remove [{name}], or remove [task]"
            )
    task = tables["task"]
    own = field_types(TaskTable)
    arguments = {**task.get("arguments", {}), **{k: v for k, v in task.items() if k not in own}}
    for name in arguments:
        if name in RESERVED:
            raise UsageProblem(
                f"{where}: task.arguments.{name}: this name is taken; give the parameter another"
            )
    if "use" not in task:
        raise UsageProblem(
            f"{where}: task.use: required in [task]: the function that makes the task, such as "
            "'mine:make'"
        )
    # in the order of their names, so that equal tasks are equal
    given = sorted((name, _frozen(value)) for name, value in arguments.items())
    tables["task"] = {**{k: v for k, v in task.items() if k in own}, "arguments": given}
    name = TaskTable(use=task["use"], arguments=tuple(given)).name
    tables["data"] = {"name": name, "validation": task.get("validation", 0.0)}
    tables["model"] = {"name": TASK.name}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def task_problem(settings: Settings) -> str | None:
    """Return which setting a task cannot have, as `key: reason`; None if there is none."""
    if settings.task is None:
        return None
    if settings.run.data_parallel > 1:
        return "run.data_parallel: not possible with [task] yet; remove this key"
    return None


def check_task(task: TaskTable, folder: str, where: str) -> TaskReference:
    """Find a task's function and check the names of its arguments, without running it.

    Raises:
        UsageProblem: there is no such module or function, or an argument does not fit.
    """
    try:
        found = find_task(task.use, Path(folder))
        check_arguments(found, [name for name, _ in task.arguments])
    except UsageProblem as problem:
        raise UsageProblem(f"{where}: {problem}") from None
    return found

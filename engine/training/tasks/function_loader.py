"""Imports a person's module and calls its function: the only place that runs their code first."""

import importlib
import random
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.random  # numpy loads it late, and would find a `secrets.py` of the task
import torch

from batchscope.engine.errors import nearest, printable, shown
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.tasks.code_digests import CodeDigests, CodeRefused
from batchscope.engine.tasks.reference import TaskReference
from batchscope.engine.training.tasks.error_place import explained, named
from batchscope.engine.training.tasks.fork_guard import leave_if_child
from batchscope.engine.training.tasks.watchdog import began

Done = TypeVar("Done")


def load_function(task: TaskReference, code: CodeDigests) -> Callable[..., Any]:
    """Import the task's module and return its function.

    Args:
        task: where the function is.
        code: installed for its folder; it records what is imported.

    Raises:
        TaskProblem: the import failed, or the module has no such function.
    """
    code.check_free(task.module)
    module = guarded(lambda: importlib.import_module(task.module), code, "importing the task")
    if not code.holds(getattr(module, "__file__", None) or ""):
        raise TaskProblem(f"task.use: {task.module} is not in {printable(task.folder)}")
    function = getattr(module, task.function, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise TaskProblem(
            f"{printable(task.file)}: there is no function {task.function!r}"
            f"{nearest(task.function, names)}"
        )
    result: Callable[..., Any] = function
    return result


def made(
    function: Callable[..., Any], seed: int, arguments: Mapping[str, Any], code: CodeDigests
) -> Task:
    """Call a task's function with every global generator seeded, and return its task.

    Raises:
        TaskProblem: the call failed, or returned something else than a `Task`.
    """
    seed_everything(seed)
    task = guarded(lambda: function(seed=seed, **arguments), code, named("the task", function))
    if not isinstance(task, Task):
        hint = ", which `yield` in it makes" if isinstance(task, Generator) else ""
        raise TaskProblem(
            f"{named(getattr(function, '__name__', 'the function'), function)}: expected a "
            f"batchscope.Task, got {shown(task)}{hint}"
        )
    return task


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def guarded(work: Callable[[], Done], code: CodeDigests, doing: str) -> Done:
    """Run a person's code; every error names the file and line of theirs.

    Args:
        work: runs it.
        code: tells which files are theirs.
        doing: where to look if no frame of an error is in their code.

    Raises:
        TaskProblem: it raised something, or called `sys.exit`.
        CodeRefused: it imported a module that may not be run.
    """
    began()
    try:
        done = work()
        code.check()
        return done
    except (CodeRefused, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        leave_if_child()
        code.check()  # their code may have made another error of a refusal
        cause = error.__cause__ if isinstance(error, TaskProblem) else error
        raise TaskProblem(explained(error, code, doing)) from cause

"""Imports a person's module and calls its function: the only place that runs their code first."""

import importlib
import os
import random
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from batchscope.engine.errors import nearest, printable, shown
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.tasks.code_digests import CodeDigests, CodeRefused
from batchscope.engine.tasks.reference import TaskReference

Done = TypeVar("Done")
WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel")


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
    task = guarded(lambda: function(seed=seed, **arguments), code, "making the task")
    if not isinstance(task, Task):
        raise TaskProblem(
            f"{getattr(function, '__name__', 'the function')}: expected a batchscope.Task, "
            f"got {shown(task)}"
        )
    return task


def refuse_model(model: nn.Module) -> None:
    """Raise `TaskProblem` for a model that cannot be trained here; the message says what to do."""
    kind = type(model).__name__
    if kind in WRAPPERS:
        raise TaskProblem(f"Task(model=…): {kind}: give the module inside of it (.module)")
    trained = [each for each in model.parameters() if each.requires_grad]
    if not trained:
        raise TaskProblem("Task(model=…): no parameter requires a gradient")
    kinds = {each.dtype for each in trained} - {torch.float32}
    if any(each.is_complex for each in kinds):
        raise TaskProblem("Task(model=…): complex parameters; use pairs of real ones instead")
    if kinds:
        raise TaskProblem(
            f"Task(model=…): parameters of {next(iter(kinds))}; use float32, and "
            'train.precision = "bf16" for faster passes'
        )


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def guarded(work: Callable[[], Done], code: CodeDigests, doing: str) -> Done:
    """Run a person's code; every error names the file and line of theirs.

    Raises:
        TaskProblem: it raised something, or called `sys.exit`.
        CodeRefused: it imported a module that may not be run.
    """
    try:
        done = work()
        code.check()
        return done
    except CodeRefused:
        raise
    except TaskProblem as problem:
        code.check()
        where = place(problem.__traceback__, code)
        raise TaskProblem(f"{where}: {problem}" if where else str(problem)) from None
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        code.check()  # their code may have made another error of it
        where = place(error.__traceback__, code)
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{os.path.relpath(error.filename, code.folder)}, line {error.lineno}"
        text = " ".join(str(error).split())[:500]
        what = "called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
        raise TaskProblem(
            printable(f"{where or doing}: {what}" + (f": {text}" if text else ""))
        ) from error


def place(trace: TracebackType | None, code: CodeDigests) -> str:
    """Return file and line of the innermost frame in a person's folder; empty if there is none."""
    frames = [each for each in traceback.extract_tb(trace) if code.holds(each.filename)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(os.path.realpath(last.filename)).relative_to(code.folder)}, line {last.lineno}"

"""Prepares a data set in a separate process and records its progress."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, DataProgress, DataReady
from batchscope.engine.spec import TaskTable
from batchscope.engine.sweeps.launcher import module_command

INSPECTION = "batchscope.engine.training.tasks.inspection"


class PrepareMessage(msgspec.Struct, frozen=True):
    """One line of output of `engine.data.prepare`: progress, the result, or an error."""

    received: int | None = None
    total: int = 0
    prepared: Prepared | None = None
    error: str = ""


async def fetch(
    name: str, home: Path, data_dir: str | None, write: Callable[[AnyEvent], None]
) -> Prepared:
    """Prepare a data set under `home`, from `data_dir` or the network.

    Args:
        name: the name of the data set.
        home: batchscope's home folder.
        data_dir: a folder that holds the images already; None to download them.
        write: records an event in the journal.

    Raises:
        MachineProblem: the images could not be read or downloaded.
    """
    arguments = [name, str(home), *([data_dir] if data_dir else [])]
    return await _answer(name, "batchscope.engine.data.prepare", arguments, write)


async def inspect(task: TaskTable, folder: str, write: Callable[[AnyEvent], None]) -> Prepared:
    """Run a task's function once in a process of its own, and return what has shown.

    Raises:
        MachineProblem: it cannot be trained; the message names the file and the line.
    """
    arguments = [folder, msgspec.json.encode(task).decode()]
    return await _answer(task.name, INSPECTION, arguments, write)


async def _answer(
    name: str, module: str, arguments: list[str], write: Callable[[AnyEvent], None]
) -> Prepared:
    process = await asyncio.create_subprocess_exec(
        *module_command(module),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            answer = msgspec.json.decode(line, type=PrepareMessage)
            if answer.received is not None:
                write(DataProgress(name=name, received=answer.received, total=answer.total))
            if answer.error:
                raise MachineProblem(answer.error)
            if answer.prepared:
                return answer.prepared
        code = await process.wait()
        raise MachineProblem(f"{name}: preparing the images failed with exit code {code}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def prepared(
    name: str,
    preparing: Coroutine[Any, Any, Prepared],
    recorded: DataReady | None,
    write: Callable[[AnyEvent], None],
) -> Prepared:
    """Prepare data, and record them unless the journal holds them (`recorded`).

    Raises:
        MachineProblem: the data could not be read, or differ from those in the journal.
    """
    data = await preparing
    if recorded and recorded.digest != data.digest:
        what = "the images have" if data.task is None else "the code of the task has"
        raise MachineProblem(
            f"{name}: {what} changed since this sweep began; start a new sweep to train on them"
        )
    if recorded and recorded.task:  # times differ each time; those of the start count
        data = msgspec.structs.replace(data, task=recorded.task)
    if not recorded:
        write(
            DataReady(
                name=name,
                train=data.train,
                test=data.test,
                shape=data.shape,
                digest=data.digest,
                task=data.task,
            )
        )
    return data

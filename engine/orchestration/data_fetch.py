"""Prepares a data set in a separate process and records its progress."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, DataProgress, DataReady
from batchscope.engine.sweeps.launcher import module_command


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
    process = await asyncio.create_subprocess_exec(
        *module_command("batchscope.engine.data.prepare"),
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
    home: Path,
    data_dir: str | None,
    recorded: DataReady | None,
    write: Callable[[AnyEvent], None],
) -> Prepared:
    """Prepare a data set with `fetch`, and record it unless the journal holds it (`recorded`).

    Raises:
        MachineProblem: the images could not be read, or differ from those in the journal.
    """
    data = await fetch(name, home, data_dir, write)
    if recorded and recorded.digest != data.digest:
        raise MachineProblem(
            f"{name}: the images have changed since this sweep began; "
            "start a new sweep to train on them"
        )
    if not recorded:
        write(
            DataReady(
                name=name,
                train=data.train,
                test=data.test,
                shape=data.shape,
                digest=data.digest,
            )
        )
    return data

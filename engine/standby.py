"""A conductor that starts before there is a sweep, with workers that have loaded their libraries.

    python -P -m batchscope.engine.standby DEVICE [WORKERS]

It writes `READY` to stdout when it can run a sweep, then waits for a line on stdin: a JSON list of
the sweep's folder and of commands. From then on it is the conductor of that sweep. It ends, with
its workers, if stdin ends first, if no line comes for `IDLE_SECONDS` (an empty line restarts the
wait), or if the machine has too little free memory.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from batchscope.engine.processes.descriptor_passing import READY, speak_into
from batchscope.engine.system.background import in_background

MOST_WORKERS = 2
LEAST_MEMORY = 2 << 30
IDLE_SECONDS = 600.0


def _load() -> None:
    """Import everything that the conductor needs, including its late imports."""
    import psutil  # noqa: F401

    import batchscope.engine.conductor  # noqa: F401


def how_many(places: int, asked: int | None, available: int | None) -> int:
    """Return how many workers to keep ready.

    It is a small number: each worker holds about 300 MB, and more can start during training.

    Args:
        places: the number of devices or cores.
        asked: the number of workers that the user set; None if not set.
        available: the free memory in bytes; None if not known.
    """
    if available is not None and available < LEAST_MEMORY:
        return 0
    return max(1, min(MOST_WORKERS, places, asked or MOST_WORKERS))


def _fitting(device: str, asked: int | None) -> int:
    from batchscope.engine.devices.devices import choose_devices, cores, memory_of

    devices = choose_devices(device)
    (cpu,) = choose_devices("cpu")
    places = len(devices) if devices[0].handle else cores()
    return how_many(places, asked, memory_of(cpu).available)


async def wanted(said: asyncio.StreamReader, patience: float) -> list[str] | None:
    """Wait for the folder and commands of a sweep; return None if none will come.

    Args:
        said: the stream of lines.
        patience: the seconds to wait for each line.
    """
    while True:
        try:
            line = await asyncio.wait_for(said.readline(), patience)
        except TimeoutError:
            return None
        if not line.endswith(b"\n"):  # the end of the stream, perhaps within a line
            return None
        if line.strip():
            words: list[str] = json.loads(line)
            return words


async def _stand_by(device: str, workers: int | None) -> int:
    from batchscope.engine.conductor import conduct
    from batchscope.engine.processes.worker_processes import Reserve
    from batchscope.engine.sweeps.launcher import open_log

    count, reserve = _fitting(device, workers), Reserve()
    if not count:
        return 0
    said, stdin = asyncio.StreamReader(), os.fdopen(os.dup(0), "rb", buffering=0)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(said), stdin
    )
    await reserve.fill(count)
    os.write(1, READY)
    words = await wanted(said, IDLE_SECONDS)
    pipe.close()
    if words is None:
        reserve.keep(0)
        return 0
    folder = Path(words[0])
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    with open_log(folder) as log:
        speak_into(os.dup(log.fileno()))
    return await conduct(folder, words[1:], reserve)


async def _to_the_end(device: str, workers: int | None) -> None:
    """Exit at once, as the conductor does; the remaining workers end with this process."""
    os._exit(await _stand_by(device, workers))


def main() -> None:
    """Wait for a sweep and run it."""
    os.umask(0o077)
    in_background(_load)
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else None
    asyncio.run(_to_the_end(sys.argv[1], workers))


if __name__ == "__main__":
    main()

"""A conductor, with workers that have loaded their libraries, before there is a sweep to conduct.

    python -P -m batchscope.engine.standby DEVICE [WORKERS]

It waits for a line on stdin: a list of the sweep's folder and of commands, as JSON. From then on
it is the conductor of that sweep. If stdin ends before, whoever wanted it is gone, and it ends with
its workers; so it does where nobody says anything for `IDLE_SECONDS` (an empty line is enough), and
where the machine has no memory to spare. It says `READY` on stdout once it can conduct.
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
    """Import what the conductor needs, down to what it imports late."""
    import psutil  # noqa: F401

    import batchscope.engine.conductor  # noqa: F401


def how_many(places: int, asked: int | None, available: int | None) -> int:
    """Workers worth having ready for `places` devices or cores, with so many bytes available.

    Few: each holds some 300 MB, and the others can start while these train.
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
    """What is to be conducted, as soon as somebody says so; None once nobody will.

    `patience` is in seconds and begins anew with every line.
    """
    while True:
        try:
            line = await asyncio.wait_for(said.readline(), patience)
        except TimeoutError:
            return None
        if not line.endswith(b"\n"):  # the end, be it within a line: who wrote it is dead
            return None
        if line.strip():
            words: list[str] = json.loads(line)
            return words


async def _stand_by(device: str, workers: int | None) -> int:
    from batchscope.engine.conductor import conduct
    from batchscope.engine.processes.worker_processes import Reserve
    from batchscope.engine.sweeps.launcher import LOG

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
    speak_into(os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    return await conduct(folder, words[1:], reserve)


async def _to_the_end(device: str, workers: int | None) -> None:
    """Leave at once, as the conductor does: whoever is still there ends with this process."""
    os._exit(await _stand_by(device, workers))


def main() -> None:
    """Wait for a sweep and conduct it."""
    os.umask(0o077)
    in_background(_load)
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else None
    asyncio.run(_to_the_end(sys.argv[1], workers))


if __name__ == "__main__":
    main()

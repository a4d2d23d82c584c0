"""Starts workers, and keeps a reserve of workers that have loaded the libraries already.

Workers in the reserve have no sweep and no device. When one is taken, it gets the same orders as a
new worker, so it fits every launch and only saves the time to start. It does not touch a GPU, since
an idle program should not hold GPU memory.
"""

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO

from batchscope.engine.processes.descriptor_passing import READY, hand_over
from batchscope.engine.processes.orders import LONGEST_LINE
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent

LEAST_SHARE = 0.5


async def start_worker(
    log: "IO[bytes]", inherited: int | None, *words: str
) -> asyncio.subprocess.Process:
    """Start a worker process.

    Args:
        log: the file for its output other than events.
        inherited: a descriptor that it inherits, if any.
        words: its command-line arguments.
    """
    return await asyncio.create_subprocess_exec(
        *module_command("batchscope.engine.worker"),
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        pass_fds=() if inherited is None else (inherited,),
        # NVML's order of the GPUs, so that a name means the same card; one thread in numpy, so
        # that its results do not depend on the number of cores
        env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "OPENBLAS_NUM_THREADS": "1", **os.environ},
        limit=LONGEST_LINE,
        preexec_fn=ended_with_parent(),
    )


@dataclass
class _Idle:
    """A waiting worker, and our end of the socket that passes it the sweep's descriptors."""

    process: asyncio.subprocess.Process
    channel: socket.socket
    began: float = field(default_factory=time.monotonic)

    def is_worth_it(self) -> bool:
        """Return whether the idle worker will be ready sooner than a new worker.

        True if it has loaded, or makes progress. It loads at the lowest priority, so on a busy
        machine a new worker can be faster.
        """
        import psutil

        try:
            return self.channel.recv(len(READY)) == READY
        except BlockingIOError:  # it is still loading
            passed = time.monotonic() - self.began
        try:
            spent = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return False
        return spent.user + spent.system >= LEAST_SHARE * passed

    def end(self) -> None:
        """Kill the worker; it has no work that could be lost."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Reserve:
    """The waiting workers of a conductor."""

    def __init__(self) -> None:
        self._idle: list[_Idle] = []

    async def fill(self, count: int) -> None:
        """Start `count` workers.

        Raises:
            OSError: a process, a socket or a file could not be created.
        """
        for _ in range(count):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs, tempfile.TemporaryFile() as unsaid:
                channel = theirs.fileno()
                process = await start_worker(unsaid, channel, str(channel))
            self._idle.append(_Idle(process, ours))

    def take(self, lock: int, log: int) -> asyncio.subprocess.Process | None:
        """Take a worker and hand it the sweep's lock and log; return None if none is left."""
        while self._idle:
            idle = self._idle.pop(0)
            if idle.is_worth_it() and hand_over(idle.channel, lock, log):
                idle.channel.close()
                return idle.process
            idle.end()
        return None

    def keep(self, count: int) -> None:
        """Kill all but `count` waiting workers."""
        while len(self._idle) > count:
            self._idle.pop().end()

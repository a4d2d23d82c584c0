"""Workers that have loaded the libraries and wait for a sweep.

They know of no sweep and no device: whatever a launch decides is told them when they are taken, by
the very orders that a worker gets that has just been started. So they fit every launch, and differ
from a new one in nothing but the time that it would take. Nor do they touch a GPU: a screen that
somebody left open should hold none of a card's memory.
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
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent

LONGEST_LINE = 256 << 20
LEAST_SHARE = 0.5


async def start_worker(
    log: "IO[bytes]", inherited: int | None, *words: str
) -> asyncio.subprocess.Process:
    """A new worker, which inherits a descriptor, if any, and says to the log what is no event."""
    return await asyncio.create_subprocess_exec(
        *module_command("batchscope.engine.worker"),
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        pass_fds=() if inherited is None else (inherited,),
        # the order in which NVML counts GPUs, so that a name means the same card; and what numpy
        # computes must not depend on how many cores there are
        env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "OPENBLAS_NUM_THREADS": "1", **os.environ},
        limit=LONGEST_LINE,
        preexec_fn=ended_with_parent(),
    )


@dataclass
class _Idle:
    """A worker that waits, and our end of the socket by which it gets the sweep's descriptors."""

    process: asyncio.subprocess.Process
    channel: socket.socket
    began: float = field(default_factory=time.monotonic)

    def is_worth_it(self) -> bool:
        """Whether it serves sooner than a new one: it is ready, or gets on with loading.

        It loads at the lowest priority, so on a busy machine a new one overtakes it.
        """
        import psutil

        try:
            return self.channel.recv(len(READY)) == READY
        except BlockingIOError:  # it has said nothing: it still loads
            passed = time.monotonic() - self.began
        try:
            spent = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return False
        return spent.user + spent.system >= LEAST_SHARE * passed

    def end(self) -> None:
        """End it at once: it has nothing in hand."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Reserve:
    """The waiting workers of a conductor, each taken at most once."""

    def __init__(self) -> None:
        self._idle: list[_Idle] = []

    async def fill(self, count: int) -> None:
        """Start so many workers.

        Raises:
            OSError: the machine refuses a process, a socket or a file.
        """
        for _ in range(count):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs, tempfile.TemporaryFile() as unsaid:
                channel = theirs.fileno()
                process = await start_worker(unsaid, channel, str(channel))
            self._idle.append(_Idle(process, ours))

    def take(self, lock: int, log: int) -> asyncio.subprocess.Process | None:
        """A worker that from now on holds the lock and uses the log; None where none is left."""
        while self._idle:
            idle = self._idle.pop(0)
            if idle.is_worth_it() and hand_over(idle.channel, lock, log):
                idle.channel.close()
                return idle.process
            idle.end()
        return None

    def keep(self, count: int) -> None:
        """End all but so many."""
        while len(self._idle) > count:
            self._idle.pop().end()

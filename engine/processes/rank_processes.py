"""Starts the other workers of a data-parallel trial as processes on the same machine."""

import os
import subprocess
from collections.abc import Sequence

from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent

READY = b"ready\n"
PATIENCE_SECONDS = 3.0


class Ranks:
    """The processes of ranks 1 to `size` - 1. They write to this process's log and end with it.

    Args:
        rendezvous: where the ranks meet (`file://PATH` or `tcp://HOST:PORT`).
        size: the number of ranks, this process included.
        devices: the devices by rank; used in turn if there are fewer than ranks.
        apart: whether each rank has a GPU of its own.
    """

    def __init__(self, rendezvous: str, size: int, devices: Sequence[str], apart: bool) -> None:
        self._processes = [
            subprocess.Popen(
                [
                    *module_command("batchscope.engine.rank"),
                    rendezvous,
                    str(rank),
                    str(size),
                    devices[rank % len(devices)],
                    *(("apart",) if apart else ()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(os.environ),
                preexec_fn=ended_with_parent(),
            )
            for rank in range(1, size)
        ]

    def missing(self) -> int | None:
        """Wait until all ranks are ready; return the first that ended before, or None."""
        for rank, process in enumerate(self._processes, 1):
            assert process.stdout is not None
            if process.stdout.readline() != READY:
                return rank
        return None

    def end(self) -> None:
        """End the processes: close their stdin, then kill those that do not end."""
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
        for process in self._processes:
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

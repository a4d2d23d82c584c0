"""The other workers of one trial as processes that its first worker starts on its own machine."""

import os
import subprocess
from collections.abc import Sequence

from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent

READY = b"ready\n"
PATIENCE_SECONDS = 3.0


class Ranks:
    """The processes of ranks 1 to `size` - 1, which meet at a rendezvous, on `devices` in turn.

    They end with this process, and once their stdin does. What they say goes to its log.
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
        """Wait until all are ready to meet; the first rank that ended before it was."""
        for rank, process in enumerate(self._processes, 1):
            assert process.stdout is not None
            if process.stdout.readline() != READY:
                return rank
        return None

    def end(self) -> None:
        """End them: by the end of their stdin, then by force."""
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

"""Starts and watches the other workers of a data-parallel trial, processes on the same machine."""

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent

READY = b"ready\n"
PING = ANSWER = b"."
PINGS = 12
PATIENCE_SECONDS = 3.0
START_SECONDS = 60.0
"""A process that loads its libraries has at least so long to answer."""
EXIT_SECONDS = 1.0


class Ranks:
    """The processes of ranks 1 to `size` - 1. They write to this process's log and end with it.

    A thread pings them. A rank that has ended, or that does not answer, is lost: then all of them
    are killed, so that nobody waits for a message that will never come.

    Args:
        rendezvous: where the ranks meet (`file://PATH` or `tcp://HOST:PORT`).
        size: the number of ranks, this process included.
        devices: the devices by rank; used in turn if there are fewer than ranks.
        apart: whether each rank has a GPU of its own.
        silence: the seconds without an answer after which a rank is lost.
        lost: called in the thread, with the reason, once a rank is lost.

    Raises:
        OSError: a process could not be started; none is left.
    """

    def __init__(
        self,
        rendezvous: str,
        size: int,
        devices: Sequence[str],
        apart: bool,
        silence: float,
        lost: Callable[[str], None],
    ) -> None:
        self._size, self._silence, self._lost = size, silence, lost
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ready: set[int] = set()
        self._ending, self._reason = False, ""
        self._settled = threading.Event()
        """Set once all ranks are ready, or one is lost."""
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        try:
            for rank in range(1, size):
                words = [rendezvous, str(rank), str(size), devices[rank % len(devices)]]
                self._processes.append(_started([*words, *(("apart",) if apart else ())]))
            self._watcher.start()
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:  # too many threads
            self._kill()
            self._close()
            raise OSError(str(error)) from error

    def wait_until_ready(self) -> str:
        """Wait until all ranks are ready; return why one was lost before, or an empty string."""
        self._settled.wait()
        return self._reason

    def fault(self) -> str:
        """Return why a rank was lost, empty if none was; wait a second for one that is ending."""
        deadline = time.monotonic() + EXIT_SECONDS
        while not self._reason and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._reason

    def end(self) -> None:
        """End the processes: close their stdin, then kill those that do not end."""
        self._ending = True
        for process in self._processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
        self._kill()
        if self._watcher is not threading.current_thread():
            self._watcher.join()
        self._close()

    def _watch(self) -> None:
        """Ping the ranks until they are ended or one is lost.

        Pings are counted, not seconds, so that a machine that slept loses no rank.
        """
        unanswered = dict.fromkeys(self._pipes(), 0)
        while True:
            for process in self._processes:
                assert process.stdin is not None
                with contextlib.suppress(OSError, ValueError):  # it is ended, here or over there
                    os.write(process.stdin.fileno(), PING)
            reason = self._listen(unanswered)
            if self._ending:
                return
            for rank, count in unanswered.items():
                if not reason and count >= PINGS:
                    reason = f"{self._name(rank)} did not answer for {self._patience:g} s"
                unanswered[rank] += 1
            if reason:
                self._reason = reason
                self._kill()
                self._settled.set()
                self._lost(reason)
                return

    @property
    def _patience(self) -> float:
        ready = len(self._ready) == len(self._processes)
        return self._silence if ready else max(self._silence, START_SECONDS)

    def _listen(self, unanswered: dict[int, int]) -> str:
        """Read answers until the next pings are due; return at once why a rank has ended."""
        pipes = {fd: rank for rank, fd in self._pipes().items()}
        poll = select.poll()
        for fd in pipes:
            poll.register(fd, select.POLLIN)
        due = time.monotonic() + self._patience / PINGS
        while (left := due - time.monotonic()) > 0:
            for fd, _ in poll.poll(1000 * left):
                answer = os.read(fd, 1 << 12)
                if not answer:
                    return self._how_it_ended(pipes[fd])
                unanswered[pipes[fd]] = 0
                if READY[-1:] in answer:
                    self._ready.add(pipes[fd])
                if len(self._ready) == len(self._processes):
                    self._settled.set()
        return ""

    def _pipes(self) -> dict[int, int]:
        """Return by rank the descriptor of its stdout."""
        return {
            rank: process.stdout.fileno()
            for rank, process in enumerate(self._processes, 1)
            if process.stdout is not None
        }

    def _how_it_ended(self, rank: int) -> str:
        """Return how the first rank ended; one that was killed comes before those that left."""
        deadline = time.monotonic() + EXIT_SECONDS
        codes: dict[int, int] = {}
        while time.monotonic() < deadline and not any(codes.values()):
            codes = {
                other: code
                for other, process in enumerate(self._processes, 1)
                if (code := process.poll()) is not None
            }
            time.sleep(0.01)
        guilty = next((other for other, code in codes.items() if code), rank)
        code = codes.get(guilty)
        if code is None:
            return f"{self._name(guilty)} closed its connection"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self._name(guilty)} {how}"

    def _name(self, rank: int) -> str:
        """Return a rank as people count: this process is worker 1."""
        return f"worker {rank + 1} of {self._size}"

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may block it
                process.wait(PATIENCE_SECONDS)

    def _close(self) -> None:
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _started(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*module_command("batchscope.engine.rank"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=dict(os.environ),
        preexec_fn=ended_with_parent(),
    )

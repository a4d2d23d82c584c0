"""Processes that read samples for a training, so that a slow data set does not hold it up.

They are copies of the training's process, made before they are needed. So a data set need not be
pickled, and its memory is shared until it is written to. Each reads whole batches on request: which
process reads a batch does not change it, because samples are seeded by their numbers.

A file that was open is opened anew in each process, at the same place: otherwise all would move one
common position. Connections cannot be shared, and are closed there.
"""

import contextlib
import faulthandler
import fcntl
import gc
import os
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Generic, NamedTuple, NoReturn, TypeVar

import torch

from batchscope.engine.errors import MachineProblem
from batchscope.engine.system.parent_death import end_with
from batchscope.engine.task import TaskProblem
from batchscope.engine.training.tasks.batch_bytes import packed, unpacked

Request = TypeVar("Request")
Batch = object
SYSTEM = "linux"
CRASH, MOST_WORDS = "Fatal Python error: ", 1 << 16
PATIENCE_SECONDS = 5.0
LESS_MEMORY = "if memory ran out, use fewer loaders"


class LoaderLost(Exception):
    """A loader process was killed; the training can go on in another process."""


class Slow(NamedTuple):
    """What happens if a loader process takes long for a batch.

    Attributes:
        seconds: how long it may take.
        say: called once with what is read, and the line.
        place: returns the line of a person's code in the words of `faulthandler`, or nothing.
    """

    seconds: float = 60.0
    say: Callable[[str], object] = str
    place: Callable[[str], str] = lambda trace: ""


class LoaderProcesses(Generic[Request]):
    """Some processes that read batches.

    Args:
        count: how many.
        read: reads a batch in one of them.
        described: returns what a request reads and with which code, for messages.
        slow: how long one batch may take before that is said, and who takes it.

    Raises:
        MachineProblem: the system cannot do this safely.
        OSError: it refuses more processes or pipes.
    """

    def __init__(
        self,
        count: int,
        read: Callable[[Request], Batch],
        described: Callable[[Request], str],
        slow: "Slow | None" = None,
    ) -> None:
        if sys.platform != SYSTEM:
            raise MachineProblem("task.loaders: loader processes need Linux; remove this key")
        self.count, self._described = count, described
        self._slow, self._said = slow or Slow(), threading.Event()
        self._free: SimpleQueue[_Loader] = SimpleQueue()
        self._all = list[_Loader]()
        try:
            for _ in range(count):
                self._all.append(_Loader(read, self._slow.seconds))
                self._free.put(self._all[-1])
        except BaseException:
            self.close()
            raise
        self._threads = ThreadPoolExecutor(count, "loader")

    @property
    def pids(self) -> list[int]:
        """Return the ids of the processes."""
        return [each.pid for each in self._all]

    def ask(self, request: Request) -> "Future[Batch]":
        """Have a batch read; requests are begun in their order.

        Returns:
            The batch to come. It raises `TaskProblem` where reading failed or a process ended, and
            `LoaderLost` where one was killed.
        """
        return self._threads.submit(self._answer, request)

    def close(self) -> None:
        """End all processes; batches that were not read yet are never read."""
        threads = getattr(self, "_threads", None)
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        for each in self._all:
            each.end()
        if threads is not None:
            threads.shutdown()
        for each in self._all:
            each.forget()

    def _answer(self, request: Request) -> Batch:
        loader = self._free.get()
        try:
            answer = loader.answer(request, lambda trace: self._tell(request, trace))
        finally:
            self._free.put(loader)
        if answer is None:
            raise self._death(loader, request)
        content, problem = unpacked(answer)
        if problem:
            raise TaskProblem(problem)
        return content

    def _tell(self, request: Request, trace: str) -> None:
        """Say once that a batch takes long, and at which line."""
        if not self._said.is_set():
            self._said.set()
            at = self._slow.place(trace)
            where = f"{at}: " if at else ""
            what = f"a loader process has been reading {self._described(request)}"
            self._slow.say(f"{where}{what} for {self._slow.seconds:g} s; it is waited for")

    def _death(self, loader: "_Loader", request: Request) -> Exception:
        status, what = loader.end(PATIENCE_SECONDS), self._described(request)
        if status < 0:
            name = signal.Signals(-status).name
            text = f"task.loaders: a loader process was killed by {name} while it read {what}"
            if -status in (signal.SIGKILL, signal.SIGTERM):
                return LoaderLost(f"{text}; {LESS_MEMORY}")
            words = loader.last_words()
            return TaskProblem(text + (f": {words}" if words else ""))
        return TaskProblem(
            f"task.loaders: a loader process ended with exit code {status} while it read {what}"
        )


class _Loader:
    """One process, and the connection to it."""

    def __init__(self, read: Callable[[Any], Batch], seconds: float) -> None:
        self._seconds = seconds
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._status: int | None = None
        self._ending = threading.Lock()
        ours, theirs = Pipe()
        parent = os.getpid()
        sys.stdout.flush()  # or both would write what is in its buffer
        try:
            self.pid = os.fork()
        except OSError:
            for each in (ours, theirs, self._words):
                each.close()
            raise
        if not self.pid:
            _serve(parent, theirs, read, self._words.fileno(), seconds)
        theirs.close()
        self._connection = ours

    def answer(self, request: object, slow: Callable[[str], None]) -> bytes | None:
        """Return the answer to a request; None if the process is gone.

        Args:
            request: what it reads.
            slow: called, if that takes long, with where the process stands.
        """
        try:
            self._connection.send(request)
            if not self._connection.poll(self._seconds + PATIENCE_SECONDS):
                slow(self._said())
            return self._connection.recv_bytes()
        except (OSError, EOFError):
            return None

    def end(self, patience: float = 0.0) -> int:
        """End the process, and return its status: minus the signal that ended it, or its exit code.

        Args:
            patience: seconds to wait for a process that ends by itself, before it is killed.
        """
        with self._ending:
            deadline = time.monotonic() + patience
            while self._status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if not pid and time.monotonic() >= deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    pid, status = os.waitpid(self.pid, 0)
                if pid:
                    self._status = os.waitstatus_to_exitcode(status)
                else:
                    time.sleep(0.005)
            return self._status

    def last_words(self) -> str:
        """Return the innermost frame of a process that crashed; empty where nothing is known."""
        lines = self._said().partition(CRASH)[2].splitlines()
        return next((each.strip() for each in lines if each.startswith("  File ")), "")

    def _said(self) -> str:
        """Return what `faulthandler` has written in the process."""
        return os.pread(self._words.fileno(), MOST_WORDS, 0).decode("utf-8", "replace")

    def forget(self) -> None:
        """Close the connection to a process that has ended."""
        self._connection.close()
        self._words.close()


def _serve(
    parent: int, connection: Connection, read: Callable[[Any], Batch], words: int, seconds: float
) -> NoReturn:
    """Answer requests until the training is gone; of one that takes long, write where it stands."""
    code = 1
    # garbage of the training is not collected here: it may close numbers of files that are new here
    gc.freeze()
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with(parent)
        kept = {connection.fileno(), words}
        _stand_alone(kept)
        faulthandler.enable(file=words)
        torch.set_num_threads(1)  # the threads of the training do not exist here
        while True:
            request = connection.recv()
            faulthandler.dump_traceback_later(seconds, file=words)
            answer = _read(read, request)
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush()
            connection.send_bytes(answer)
    except (EOFError, OSError):
        code = 0
    finally:
        os._exit(code)


def _read(read: Callable[[Any], Batch], request: object) -> bytes:
    """Return a batch, and why there is none, as bytes."""
    try:
        content = read(request)
    except TaskProblem as problem:
        return packed((None, str(problem)))
    except BaseException as error:  # a person's code may raise anything
        return packed((None, f"{type(error).__name__}: {error}"))
    try:
        return packed((content, ""))
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        why = (
            f"task.loaders: a batch cannot be sent from a loader process ({text}); define its "
            "class at the top of a module, or remove task.loaders"
        )
        return packed((None, why))


def _stand_alone(kept: set[int]) -> None:
    """Share no position in a file and no connection with the process that this is a copy of."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    for each in Path("/proc/self/fd").iterdir():
        number = int(each.name)
        if number <= 2 or number in kept:
            continue
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone
            mode = os.fstat(number).st_mode
            if stat.S_ISREG(mode):
                _open_anew(number)
            elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                os.close(number)


def _open_anew(number: int) -> None:
    """Open the file of a descriptor anew, at its position."""
    position = os.lseek(number, 0, os.SEEK_CUR)
    flags = fcntl.fcntl(number, fcntl.F_GETFL) & ~os.O_CREAT
    inherited = os.get_inheritable(number)
    again = os.open(f"/proc/self/fd/{number}", flags | os.O_CLOEXEC)
    os.lseek(again, position, os.SEEK_SET)
    os.dup2(again, number, inherited)
    os.close(again)

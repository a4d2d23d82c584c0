"""What a process that prepares a data set tells the conductor: lines of JSON on its stdout."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import printable

HEARTBEAT_SECONDS = 2.0
PROGRESS_SECONDS = 0.5


class PrepareMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: the state of a download, a result, an error, or that the process is alive.

    Attributes:
        received: bytes of the download so far.
        total: bytes of the whole download.
        doing: what the process is doing, in a line that says that it is alive.
        place: the line of a person's code that it is at, if it runs one.
        note: something for the log of the sweep.
        prepared: the result.
        error: why the images cannot be prepared.
        refused: whether a person's code may not be run at all, so that the whole sweep stops.
        files: the files at fault then.
        lost: why the process gives up; another attempt may succeed.
    """

    received: int | None = None
    total: int = 0
    doing: str = ""
    place: str = ""
    note: str = ""
    prepared: Prepared | None = None
    error: str = ""
    refused: bool = False
    files: tuple[str, ...] = ()
    lost: str = ""


class Reporter:
    """Writes the lines; one that says that the process is alive every `HEARTBEAT_SECONDS`.

    Args:
        output: the descriptor to write to.
    """

    def __init__(self, output: int) -> None:
        self._output, self._writing, self._due = output, threading.Lock(), 0.0
        self._doing = "starting"
        self._place: Callable[[], str] = str
        threading.Thread(target=self._beat, daemon=True).start()

    def doing(self, what: str) -> None:
        """Take note of what the process is doing now."""
        self._doing = what

    def at(self, place: Callable[[], str]) -> None:
        """From now on, say with each heartbeat where a person's code stands.

        Args:
            place: returns file and line, called in another thread; empty if it does not run.
        """
        self._place = place

    def note(self, text: str) -> None:
        """Write something for the log of the sweep."""
        self.write(PrepareMessage(note=text))

    def progress(self, received: int, total: int) -> None:
        """Write the bytes of a download, at most once in `PROGRESS_SECONDS`."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + PROGRESS_SECONDS
            self.write(PrepareMessage(received=received, total=total))

    def lost(self, error: BaseException) -> None:
        """Write that the process gives up because of an error that may pass."""
        traceback.print_exc(file=sys.stderr)
        text = " ".join(str(error).split())[:500]
        ran_out = isinstance(error, MemoryError)
        why = "memory ran out" if ran_out else f"{type(error).__name__}: {text}"
        self.write(PrepareMessage(lost=printable(why)))

    def write(self, message: PrepareMessage) -> None:
        """Write a line; end the process if nobody reads it."""
        left = memoryview(msgspec.json.encode(message) + b"\n")
        with self._writing:
            try:
                while left:
                    left = left[os.write(self._output, left) :]
            except BrokenPipeError:
                os._exit(1)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            self.write(PrepareMessage(doing=self._doing, place=printable(self._place())))

"""Reads a worker's orders from stdin: some take effect at once, the others wait for their turn."""

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from io import FileIO
from queue import SimpleQueue

import msgspec

from batchscope.engine.errors import printable
from batchscope.engine.processes import orders
from batchscope.engine.training.cancellation import PauseGate


class OrderInbox:
    """The orders of a worker; a thread reads them, and ends the process when stdin ends.

    Args:
        answer: writes a line to the conductor.

    Attributes:
        pause: holds the training up while the sweep is paused.
        dropped: ids of trials of the current order that are to end.
        reading: held while a line is read.
    """

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        self._waiting: SimpleQueue[orders.Setup | orders.Work] = SimpleQueue()
        self._halt, self.pause = threading.Event(), PauseGate()
        self.dropped: frozenset[str] = frozenset()
        self.reading = threading.Lock()

    def halted(self) -> bool:
        """Return whether the current order is to end."""
        return self._halt.is_set()

    def put(self, order: orders.Setup | orders.Work) -> None:
        """Have an order wait behind the others."""
        self._waiting.put(order)

    def get(self) -> orders.Setup | orders.Work:
        """Wait for the next order."""
        return self._waiting.get()

    def all(self) -> list[orders.Setup | orders.Work]:
        """Take all orders that wait."""
        return [self._waiting.get() for _ in range(self._waiting.qsize())]

    def listen(self) -> None:
        """Begin to read orders in another thread."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Read orders until stdin ends; end the process then, or at a line that is not an order."""
        stdin = open(0, "rb", buffering=0)  # noqa: SIM115 (unbuffered: no lock at exit)
        try:
            while line := self._line(stdin):
                match orders.decode(line):
                    case orders.Halt():
                        self._halt.set()
                        self.pause.lift()
                    case orders.Drop(trial=trial):
                        self.dropped |= {trial}
                    case orders.Ping():
                        self._answer(orders.ALIVE)
                    case orders.Hold():
                        self.pause.begin()
                    case orders.GoOn():
                        self.pause.lift()
                    case order:
                        self._halt.clear()
                        self.dropped = frozenset()
                        self.pause.lift()
                        self.put(order)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            with contextlib.suppress(OSError):
                what = f"a line on stdin is not an order: {printable(str(error))}"
                print(what, file=sys.stderr, flush=True)
            os._exit(1)
        finally:
            os._exit(0)  # the conductor is gone, so no event would be recorded

    def _line(self, stdin: FileIO) -> bytes:
        """Wait for a line and read it; the program is not exchanged in its middle."""
        select.select([stdin], [], [])
        with self.reading:
            return stdin.readline(orders.LONGEST_LINE)

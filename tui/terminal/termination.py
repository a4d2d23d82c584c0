"""Leaves the screen in order if a signal ends the program: nothing of it stays in the terminal."""

import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from batchscope.tui.terminal.escapes import LEAVE_SCREEN, takes_more

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
PATIENCE_SECONDS = 3.0


class Caught:
    """The signal that ends the program; 0 as long as there was none."""

    number = 0

    @property
    def exit_code(self) -> int:
        """Return the exit code that a shell gives to a program that this signal ended."""
        return 128 + self.number


@contextlib.contextmanager
def left_by_signals(
    leave: Callable[[], None], last_words: Callable[[], list[str]] = list
) -> Iterator[Caught]:
    """Call `leave` in the main thread at the first signal that ends a program.

    If the program has not ended within three seconds, because its terminal takes no output or
    something in it is stuck, the terminal is restored without it, `last_words` are written and the
    process ends.
    """
    caught = Caught()
    attributes = _attributes()

    def handle(number: int, _: FrameType | None) -> None:
        if caught.number:
            return
        caught.number = number
        last = threading.Timer(PATIENCE_SECONDS, _end, (caught.exit_code, attributes, last_words))
        last.daemon = True
        last.start()
        leave()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield caught
    finally:
        if not caught.number:
            for number, handler in before.items():
                signal.signal(number, handler)


def _attributes() -> list[Any] | None:
    with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
        return termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr]
    return None


def _end(code: int, attributes: list[Any] | None, last_words: Callable[[], list[str]]) -> None:
    """Restore the terminal without Textual, say what runs on, and end the process."""
    with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
        if attributes is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, attributes)  # type: ignore[union-attr]
        if takes_more():
            words = "".join(f"{line}\n" for line in last_words())
            os.write(2, f"{LEAVE_SCREEN}{words}".encode())
    os._exit(code)

"""A program in a real pseudo-terminal, and the screen that it draws."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte
from rich.cells import cell_len

COMMAND = str(Path(sys.executable).parent / "batchscope")
PATIENCE_SECONDS = 60.0
PRESS_AGAIN_SECONDS = 5.0


def set_size(descriptor: int, columns: int, rows: int) -> None:
    """Tell the system how large the terminal is."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """A program in a terminal of the given size: `batchscope`, or a `command` that leads to it."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        command: str = COMMAND,
        **extra: str,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            set_size(0, columns, rows)
            # COLUMNS and LINES would outweigh the terminal's own size; readline, where it is
            # loaded, sets them behind the back of os.environ
            inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
            environment = {**inherited, "TERM": "xterm-256color", **extra}
            os.execvpe(command, [command, *arguments], environment)
        self.code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    @property
    def text(self) -> str:
        """What the screen shows."""
        rows = range(self._screen.lines)
        return "\n".join(self._row(self._screen.buffer[row]) for row in rows)

    def _row(self, cells: Mapping[int, Any]) -> str:
        """A line as it reads; half of a wide character may have been drawn over."""
        found, second_half = [], False
        for column in range(self._screen.columns):
            data = cells[column].data
            if not second_half:
                found.append(data or " ")
            second_half = bool(data) and not second_half and cell_len(data[0]) == 2
        return "".join(found)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as a person who drags its corner."""
        set_size(self._fd, columns, rows)
        self._screen.resize(rows, columns)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._fd, keys.encode())

    def hang_up(self) -> None:
        """Lose the line: what sshd does to the program when the connection drops."""
        os.kill(self.pid, signal.SIGHUP)

    def wait_for(self, *words: str) -> str:
        """The screen once it shows all of these words."""
        self._wait(lambda: all(word in self.text for word in words), f"waiting for {words}")
        return self.text

    def press_until(self, keys: str, *words: str) -> str:
        """Type, and again every few seconds, until the screen shows all of these words.

        A key that meets a dialog just as it goes away is lost with it.
        """
        pressed = 0.0

        def reached() -> bool:
            nonlocal pressed
            found = all(word in self.text for word in words)
            if not found and time.monotonic() - pressed > PRESS_AGAIN_SECONDS:
                pressed = time.monotonic()
                self.press(keys)
            return found

        self._wait(reached, f"pressing {keys!r} for {words}")
        return self.text

    def wait_until_gone(self, *words: str) -> str:
        """The screen once it shows none of these words."""
        self._wait(lambda: not any(word in self.text for word in words), f"{words} still there")
        return self.text

    def settle(self, times: int = 3) -> None:
        """Take in what is drawn at once, whatever it is."""
        for _ in range(times):
            self._pump()

    def wait_for_exit(self) -> int:
        """The exit status (negative: the signal that ended it), once all that it wrote is read."""
        self._wait(self._ended, "it does not end")
        while self._pump():
            pass
        assert self.code is not None
        return self.code

    def _ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}; the screen shows:\n{self.text}")
            self._pump()

    def _pump(self) -> bool:
        """Read what there is, or what comes within a moment; whether there was anything."""
        if not select.select([self._fd], [], [], 0.1)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)  # the system gives 4 KiB at most
        except OSError:  # the program closed its end
            time.sleep(0.02)
            return False
        self.bytes += data
        self._stream.feed(data)
        return bool(data)

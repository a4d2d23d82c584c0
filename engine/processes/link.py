"""The connection of a conductor to a worker: orders go out as lines, events come back."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from batchscope.engine.errors import printable
from batchscope.engine.processes import orders
from batchscope.engine.system.files import remove
from batchscope.engine.system.untrusted_files import is_damage, open_regular, open_to_write

LAST_LINES, LOG_TAIL = 5, 1 << 14
CRASH = "Fatal Python error: "
INSTALLED = ("site-packages", "dist-packages", "/batchscope/", str(Path(os.__file__).parent))
"""Parts of paths of code that is nobody's own."""
GONE = -9
"""The exit code of a worker whose real exit code cannot be found out."""


class Link(Protocol):
    """The connection to one worker, on this machine or on another."""

    @property
    def pid(self) -> int | None:
        """Its process id on this machine; None if it runs on another machine."""

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs, or if the code is not known."""

    @property
    def fault(self) -> str:
        """The failure of its machine, if that ended the worker; else empty."""

    @property
    def busy(self) -> bool:
        """Whether files are being transferred, so that a late answer means nothing."""

    async def send(self, order: orders.AnyOrder) -> None:
        """Send an order. A worker that is gone is noticed by `receive`, not here."""

    async def receive(self) -> bytes:
        """Return the next line of the worker; empty once it is gone."""

    def close(self) -> None:
        """Tell the worker to end after its current order."""

    def kill(self) -> None:
        """Kill the worker."""

    async def wait(self) -> int:
        """Wait for the worker to end; return its exit code, negative for a signal."""

    async def last_lines(self) -> list[str]:
        """Return the last lines of its log, of those since the last order to work."""


class ProcessLink:
    """The connection to a worker that is a child process and writes its output to a log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log
        self._log_from = size_of(log)

    @property
    def pid(self) -> int | None:
        """The process id of the child."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code that the system reports; None while the child runs."""
        return self._process.returncode

    @property
    def fault(self) -> str:
        """Always empty: the worker runs on this machine."""
        return ""

    @property
    def busy(self) -> bool:
        """Always false: no files are transferred."""
        return False

    async def send(self, order: orders.AnyOrder) -> None:
        """Write the order as a line to the worker's stdin."""
        assert self._process.stdin is not None
        if isinstance(order, orders.Work):
            self._log_from = size_of(self._log)
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(orders.encode(order) + b"\n")
            await self._process.stdin.drain()

    async def receive(self) -> bytes:
        """Read a line of the worker's stdout."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    def close(self) -> None:
        """Close the worker's stdin."""
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Wait for the child."""
        return await self._process.wait()

    async def last_lines(self) -> list[str]:
        """Return the last lines that the worker added to the log since its last order to work."""
        return last_lines(self._log, self._log_from)


def open_log(log: Path) -> BinaryIO:
    """Open a worker's log for appending, in place of a pipe, link or folder with its name.

    Raises:
        OSError: it cannot be written.
    """
    try:
        return open_to_write(log, append=True)
    except OSError as error:
        if not is_damage(error):
            raise
        remove(log)
        return open_to_write(log, append=True)


def size_of(log: Path) -> int:
    """Return the bytes of a log; 0 if it is not there."""
    with contextlib.suppress(OSError):
        return log.stat().st_size
    return 0


def last_lines(log: Path, start: int = 0) -> list[str]:
    """Return the last lines of a log, from byte `start` on.

    Of a crash, that is what Python calls it and the innermost line of a person's code.
    """
    with contextlib.suppress(OSError), open_regular(log, None, follow=False) as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").split("\n")
        said = [printable(line) for line in lines if line.strip()]
        return _crash(said) or said[-LAST_LINES:]
    return []


def _crash(lines: list[str]) -> list[str]:
    """Return what a crash was, and where, in the words of `faulthandler`; nothing without one."""
    at = max((at for at, line in enumerate(lines) if line.startswith(CRASH)), default=None)
    if at is None:
        return []
    frames = [line.strip() for line in lines[at:] if line.startswith("  File ")]
    theirs = [each for each in frames if not any(known in each for known in INSTALLED)]
    return [lines[at], *(theirs or frames)[:1]]

"""How a conductor talks to a worker: orders go one way as lines, facts come back the other."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Protocol

from batchscope.engine.errors import printable
from batchscope.engine.processes import orders

LAST_LINES, LOG_TAIL = 5, 4096
GONE = -9
"""The exit code of a worker of which nothing more can be known."""


class Link(Protocol):
    """One worker, wherever it runs."""

    @property
    def pid(self) -> int | None:
        """Its process on this machine; None where it runs on another."""

    @property
    def exit_code(self) -> int | None:
        """None as long as it is there, or where that is not known."""

    @property
    def fault(self) -> str:
        """What happened to the place where it ran, if that is why it is gone."""

    @property
    def busy(self) -> bool:
        """Whether so much is on its way that silence says nothing for now."""

    async def send(self, order: orders.AnyOrder) -> None:
        """Send an order; one that is gone is noticed by whoever listens to it."""

    async def receive(self) -> bytes:
        """The next line that it states; nothing once it is gone."""

    def close(self) -> None:
        """Have it end once it has done what it was asked."""

    def kill(self) -> None:
        """End it at once."""

    async def wait(self) -> int:
        """Its exit code once it has ended, negative for a signal."""

    async def last_lines(self) -> list[str]:
        """The end of what it has put into its log."""


class ProcessLink:
    """A worker that is a child of this process and has put what is no event into a log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log
        self._log_from = log.stat().st_size

    @property
    def pid(self) -> int | None:
        """The child's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As the system tells it."""
        return self._process.returncode

    @property
    def fault(self) -> str:
        """Nothing: it ran here."""
        return ""

    @property
    def busy(self) -> bool:
        """Never: a pipe takes lines alone."""
        return False

    async def send(self, order: orders.AnyOrder) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(orders.encode(order) + b"\n")
            await self._process.stdin.drain()

    async def receive(self) -> bytes:
        """Read a line of its stdout."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    def close(self) -> None:
        """End its stdin."""
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
        """What it has added to the log."""
        return last_lines(self._log, self._log_from)


def last_lines(log: Path, start: int = 0) -> list[str]:
    """The last lines of a log that came after so many bytes."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").split("\n")
        return [printable(line) for line in lines if line.strip()][-LAST_LINES:]
    return []

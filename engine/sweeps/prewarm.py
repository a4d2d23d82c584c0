"""Keeps a conductor ready while the menu is open, so that a launch need not import anything.

The waiting process (`engine.standby`) ends when its stdin does, and so with the viewer.
"""

import contextlib
import json
import os
import select
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from batchscope.engine.errors import MachineProblem
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.launcher import (
    check_code,
    journal_size,
    module_command,
    open_log,
    refuse_damaged,
    start_conductor,
    takes_charge,
)
from batchscope.engine.sweeps.store import conductor_lives

BREATH_SECONDS = 1.0
REPEAT_SECONDS = 30.0
END_SECONDS = 2.0


class Standby:
    """At most one waiting conductor; every method may be called from any thread.

    `device` and `workers` are those expected for the next sweep; it can run any other, too.
    """

    def __init__(self, device: str = "auto", workers: int | None = None) -> None:
        self._words = [device, *([str(workers)] if workers else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._next = time.monotonic() + BREATH_SECONDS

    def breathe(self) -> None:
        """Start nothing for a second, so that the screen is drawn first."""
        self._next = time.monotonic() + BREATH_SECONDS

    @property
    def due(self) -> bool:
        """Return whether `touch` has anything to do."""
        return time.monotonic() >= self._next

    def touch(self) -> None:
        """Start a waiting conductor, or extend the wait of the present one."""
        with self._turn:
            self._next = time.monotonic() + REPEAT_SECONDS
            if self._process and _say(self._process, b"\n"):
                return
            self._dismiss()
            with contextlib.suppress(OSError), tempfile.TemporaryFile() as unsaid:
                self._process = subprocess.Popen(
                    [*module_command("batchscope.engine.standby"), *self._words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=unsaid,
                    bufsize=0,
                    start_new_session=True,
                )

    def conduct(self, folder: Path, *first: commands.AnyCommand) -> None:
        """Run the sweep in `folder` with the waiting conductor, or else with a new one.

        Raises:
            UsageProblem: the sweep is damaged, so that it cannot be resumed.
            NotTrusted: it runs code that is not trusted.
            CodeRefused: its code has changed, and no command accepts that.
            MachineProblem: no conductor could be started.
        """
        if conductor_lives(folder):
            return
        refuse_damaged(folder)
        check_code(folder, any(isinstance(each, commands.AcceptCode) for each in first))
        with self._turn:
            before = journal_size(folder)
            process = self._take(folder, first)
        if process is None or not takes_charge(process, folder, before):
            if process is not None and not conductor_lives(folder):
                _kill(process)  # it is frozen: it must not come back to a sweep that has another
            start_conductor(folder, *first)

    def end(self) -> None:
        """End the waiting conductor."""
        with self._turn:
            self._dismiss()

    def _take(
        self, folder: Path, first: "tuple[commands.AnyCommand, ...]"
    ) -> "subprocess.Popen[bytes] | None":
        """Send the waiting conductor its orders; return None if no conductor is ready."""
        process = self._process
        if process is None or not _is_ready(process):
            self._dismiss()
            return None
        try:
            open_log(folder).close()
        except MachineProblem:  # a new conductor has the same problem, and says so
            self._dismiss()
            return None
        words = [str(folder.absolute()), *(os.fsdecode(commands.encode(each)) for each in first)]
        said = _say(process, json.dumps(words).encode() + b"\n")
        _close(process)
        self._process = None
        return process if said else None

    def _dismiss(self) -> None:
        if self._process:
            _close(self._process)
            _kill(self._process)
            self._process = None


def _is_ready(process: "subprocess.Popen[bytes]") -> bool:
    """Return whether the process has reported that it is ready, and still runs."""
    assert process.stdout
    return bool(select.select([process.stdout], [], [], 0)[0]) and process.poll() is None


def _say(process: "subprocess.Popen[bytes]", line: bytes) -> bool:
    """Write a line to the process's stdin; return False if it has ended."""
    assert process.stdin
    with contextlib.suppress(OSError):
        return process.poll() is None and process.stdin.write(line) == len(line)
    return False


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a broken disk may block it
        process.wait(END_SECONDS)


def _close(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()

"""Starts a conductor, detached from the terminal, and waits until it runs the sweep."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.store import LOCK, conductor_lives, load_state
from batchscope.engine.system.locks import check_locks
from batchscope.engine.system.private_folders import check_unshared

if TYPE_CHECKING:
    import psutil

LOG = "conductor.log"
PATIENCE_SECONDS = 20.0


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of batchscope, never one of the current folder."""
    return [sys.executable, "-P", "-m", module]


def start_conductor(folder: Path, *first: commands.AnyCommand) -> None:
    """Start a conductor for the sweep in `folder`, unless one runs, and wait for its first event.

    Args:
        folder: folder of the sweep.
        first: commands that it executes first.

    Raises:
        MachineProblem: it could not start; the message has the last line of its log.
    """
    if conductor_lives(folder):
        return
    check_place(folder)
    before = journal_size(folder)
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [
                *module_command("batchscope.engine.conductor"),
                str(folder),
                *map(commands.encode, first),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    if takes_charge(process, folder, before):
        return
    lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
    last = printable(lines[-1]) if lines else f"{folder / LOG} is empty"
    raise MachineProblem(f"the conductor of {folder.name} did not start: {last}")


def check_place(folder: Path) -> None:
    """Check whether a sweep can run where it is stored.

    Raises:
        MachineProblem: another user could change it, or files cannot be locked there.
    """
    try:
        check_unshared(folder)
    except OSError as error:
        why = error.strerror or str(error)
        raise MachineProblem(f"{printable(folder.name)}: cannot be run: {why}") from None
    check_locks(folder)


def journal_size(folder: Path) -> int:
    """Return the bytes of a sweep's journal; -1 if there is none."""
    path = folder / journal.NAME
    return path.stat().st_size if path.exists() else -1


def takes_charge(process: "subprocess.Popen[bytes]", folder: Path, before: int) -> bool:
    """Wait until a conductor adds to the journal.

    Args:
        process: the conductor.
        folder: folder of the sweep.
        before: bytes of the journal before the conductor was started.

    Returns:
        False if it ended, or added nothing in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if journal_size(folder) not in (-1, 0, before):
            return True
        if process.poll() is not None:
            break
        time.sleep(0.01)
    return False


def ask_to_stop(folder: Path) -> None:
    """Ask a sweep's conductor to stop: with a command, or a signal if none can be written.

    Raises:
        OSError: neither the command nor the signal could be sent.
    """
    try:
        commands.send(folder, commands.Stop())
    except OSError:
        import psutil

        started = load_state(folder).conductor
        try:
            if started is None or not _holds_lock(psutil.Process(started.pid), folder):
                raise
        except psutil.Error:
            return  # it has ended
        os.kill(started.pid, signal.SIGTERM)


def _holds_lock(process: "psutil.Process", folder: Path) -> bool:
    """Return whether a process has the sweep's lock file open, as its conductor does."""
    lock = os.path.realpath(folder / LOCK)
    return any(os.path.realpath(file.path) == lock for file in process.open_files())


def wait_until_free(folder: Path, seconds: float) -> bool:
    """Wait until no process holds the sweep's lock; return False if one still does."""
    deadline = time.monotonic() + seconds
    while (folder / LOCK).exists() and conductor_lives(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

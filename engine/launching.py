"""Starts a conductor, detached from the terminal, and waits until it has taken charge."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from engine import commands, journal
from engine.catalog import LOCK, conductor_lives, load_state
from engine.problems import MachineProblem, printable

LOG = "conductor.log"
PATIENCE_SECONDS = 20.0


def module_command(module: str) -> list[str]:
    """Run one of our modules with this interpreter, never one of the user's current folder."""
    return [sys.executable, "-P", "-m", module]


def start_conductor(folder: Path, *asked: commands.AnyCommand) -> None:
    """Start a conductor on the sweep in `folder`, unless one lives, and wait for its first word.

    What is `asked` it does before anything else.

    Raises:
        MachineProblem: it could not start; the message holds the end of its log.
    """
    if conductor_lives(folder):
        return
    path = folder / journal.NAME
    before = path.stat().st_size if path.exists() else -1
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [*module_command("engine.conductor"), str(folder), *map(commands.encode, asked)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_size not in (0, before):
            return
        if process.poll() is not None:
            break
        time.sleep(0.01)
    lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
    last = printable(lines[-1]) if lines else "no word from it"
    raise MachineProblem(f"the conductor of {folder.name} did not start: {last}")


def ask_to_stop(folder: Path) -> None:
    """Ask the conductor of a sweep to end it: by a command, by a signal where none can be written.

    Raises:
        OSError: neither can be done.
    """
    try:
        commands.send(folder, commands.Stop())
    except OSError:
        import psutil

        started = load_state(folder).conductor
        try:
            if started is None or str(folder) not in psutil.Process(started.pid).cmdline():
                raise
        except psutil.Error:
            return  # it has ended meanwhile
        os.kill(started.pid, signal.SIGTERM)


def wait_until_free(folder: Path, seconds: float) -> bool:
    """Wait until nobody holds the sweep's lock; False if somebody still does."""
    deadline = time.monotonic() + seconds
    while (folder / LOCK).exists() and conductor_lives(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

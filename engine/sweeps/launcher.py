"""Starts a conductor, detached from the terminal, and waits until it runs the sweep."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem, printable
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.cluster_address import refuse_task
from batchscope.engine.sweeps.launch_file import look_up
from batchscope.engine.sweeps.store import LOCK, conductor_lives, load_state
from batchscope.engine.sweeps.stored_code import refuse_code
from batchscope.engine.sweeps.sweep_file import read_raw
from batchscope.engine.sweeps.trust import check_sweep
from batchscope.engine.system.locks import check_locks
from batchscope.engine.system.private_folders import check_unshared
from batchscope.engine.system.untrusted_files import open_to_write, read_tail

if TYPE_CHECKING:
    import psutil

LOG = "conductor.log"
PATIENCE_SECONDS = 20.0
LOG_TAIL = 1 << 16
PROBE_BYTES = 1 << 16


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of batchscope, never one of the current folder."""
    return [sys.executable, "-P", "-m", module]


def start_conductor(folder: Path, *first: commands.AnyCommand) -> None:
    """Start a conductor for the sweep in `folder`, unless one runs, and wait for its first event.

    Args:
        folder: folder of the sweep.
        first: commands that it executes first.

    Raises:
        UsageProblem: the sweep is damaged, so that it cannot be resumed.
        NotTrusted: it runs code that is not trusted.
        CodeRefused: its code has changed, and no command accepts that.
        MachineProblem: it could not start; the message has the cause or the last line of its log.
    """
    if conductor_lives(folder):
        return
    refuse_damaged(folder)
    check_place(folder)
    check_code(folder, any(isinstance(each, commands.AcceptCode) for each in first))
    before = journal_size(folder)
    try:
        with open_log(folder) as log:
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
    except OSError as error:
        shown, why = printable(folder.name), error.strerror or error
        raise MachineProblem(f"the conductor of {shown} could not be started: {why}") from None
    if takes_charge(process, folder, before):
        return
    why = disk_problem(folder) or last_line(folder)
    raise MachineProblem(f"the conductor of {printable(folder.name)} did not start: {why}")


def open_log(folder: Path) -> BinaryIO:
    """Open the log of a sweep's conductor for appending.

    Raises:
        MachineProblem: it cannot be opened, or something else is in its place.
    """
    try:
        return open_to_write(folder / LOG, append=True)
    except OSError as error:
        why = printable(error.strerror or error)
        raise MachineProblem(f"{printable(folder / LOG)}: {why}") from None


def last_line(folder: Path) -> str:
    """Return the last line of the conductor's log, or why there is none."""
    try:
        lines = read_tail(folder / LOG, LOG_TAIL, follow=False).decode("utf-8", "replace")
    except OSError:
        return f"{LOG} cannot be read"
    last = next((line for line in reversed(lines.splitlines()) if line.strip(" \0")), "")
    return printable(last) or f"{LOG} is empty"


def disk_problem(folder: Path) -> str:
    """Return why nothing can be written into a folder, such as a full disk; empty if it can be.

    A conductor that meets a full disk cannot say so in its log.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return printable(error.strerror or error)
    return ""


def refuse_damaged(folder: Path) -> None:
    """Refuse to run a sweep whose files do not say where and what to run.

    Raises:
        UsageProblem: a file is missing or damaged; the message says what can still be done.
        MachineProblem: the folder is gone, or its files cannot be read.
    """
    shown = printable(folder.name)
    still = f"`batchscope --export DIR --sweep {shown}` exports what can be read"
    if folder.is_symlink():
        raise UsageProblem(
            f"{shown}: the folder is a link to another place, where a sweep is not run; {still}"
        )
    if not os.path.lexists(folder):
        raise MachineProblem(f"{shown}: {os.strerror(errno.ENOENT)}")
    launch, problem = look_up(folder)
    if launch is None:
        preset = printable(folder.name.split("-", 2)[-1])
        mend = f'{{"preset": "{preset}", "device": "auto", "workers": null, "data_dir": null}}'
        raise UsageProblem(
            f"{shown}: {problem}, so device, workers and data folder are not known; "
            f"write them to that file, such as {mend}, or leave it: {still}"
        )
    try:
        read_raw(folder)
    except UsageProblem as refused:
        raise UsageProblem(f"{refused}, so {shown} cannot be resumed; {still}") from None


def cannot_resume(folder: Path, state: SweepState | None = None) -> str:
    """Return why a sweep cannot be resumed as it is; empty if it can be.

    Args:
        folder: the sweep's folder.
        state: its state, where it is known already.
    """
    try:
        refuse_damaged(folder)
        refuse_code(folder, state=state)
    except Problem as problem:
        return str(problem)
    return ""


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


def check_code(folder: Path, accepts: bool = False) -> None:
    """Check that a sweep's code is trusted and unchanged, and can be run where it is to be.

    Args:
        folder: the sweep's folder.
        accepts: whether changed code is accepted.

    Raises:
        UsageProblem: it is not, or cannot.
    """
    launch, _ = look_up(folder)
    if launch is not None:
        refuse_task(launch.on, launch.task_folder)
    check_sweep(folder)
    refuse_code(folder, accepts)


def journal_size(folder: Path) -> int:
    """Return the bytes of a sweep's journal; -1 if there is none."""
    try:
        return (folder / journal.NAME).lstat().st_size
    except OSError:
        return -1


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

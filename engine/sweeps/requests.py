"""Sends commands to a sweep, and checks beforehand which would be rejected."""

from pathlib import Path

from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.store import conductor_lives

ENDED = {
    "finished": "has already finished",
    "diverged": "has already diverged",
    "failed": "has already failed",
    "stopped": "is already stopped",
    "skipped": "is already skipped",
}
NOT_AGAIN = {
    "finished": "has finished; another run would give the same results",
    "diverged": "has diverged; another run would diverge again",
    "running": "is already running",
    "queued": "is already queued",
}


def skip_refusal(trial: TrialState) -> str:
    """Return why a trial cannot be skipped; empty if it can."""
    return f"{trial.id} {ENDED[trial.status]}" if trial.status in ENDED else ""


def retry_refusal(trial: TrialState) -> str:
    """Return why a trial cannot be run again; empty if it can."""
    return f"{trial.id} {NOT_AGAIN[trial.status]}" if trial.status in NOT_AGAIN else ""


def ask(folder: Path, command: commands.AnyCommand) -> None:
    """Send a command to the sweep's conductor, or start a new one with it.

    Raises:
        MachineProblem: no conductor could be started.
        OSError: the folder cannot be written.
    """
    if conductor_lives(folder):
        commands.send(folder, command)
    else:
        start_conductor(folder, command)

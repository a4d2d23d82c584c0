"""Asks something of a sweep, and says beforehand what would be refused."""

from pathlib import Path

from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.store import conductor_lives

ENDED = {
    "finished": "has finished",
    "diverged": "has diverged",
    "failed": "has failed",
    "stopped": "was stopped",
    "skipped": "is skipped already",
}
NOT_AGAIN = {
    "finished": "has finished: again it would give the same figures",
    "diverged": "has diverged: that is its result, and again it would be the same",
    "running": "runs already",
    "queued": "waits for its turn already",
}


def skip_refusal(trial: TrialState) -> str:
    """Why a trial cannot be skipped; empty where it can."""
    return f"{trial.id} {ENDED[trial.status]}" if trial.status in ENDED else ""


def retry_refusal(trial: TrialState) -> str:
    """Why a trial cannot be run again; empty where it can."""
    return f"{trial.id} {NOT_AGAIN[trial.status]}" if trial.status in NOT_AGAIN else ""


def ask(folder: Path, command: commands.AnyCommand) -> None:
    """Have the sweep's conductor do something; where none lives, a new one begins with it.

    Raises:
        MachineProblem: no conductor could be started.
        OSError: the folder cannot be written.
    """
    if conductor_lives(folder):
        commands.send(folder, command)
    else:
        start_conductor(folder, command)

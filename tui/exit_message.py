"""The message in the terminal after the app closes: what still runs, and how to return."""

from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.sweeps.stored_code import code_refusal


def farewell(folder: Path, state: SweepState | None = None, starting: bool = False) -> str:
    """Return a line about a sweep that was on the screen.

    Args:
        folder: folder of the sweep.
        state: its state; None if it never loaded.
        starting: whether its conductor may still be starting.
    """
    name = printable(folder.name)
    if conductor_lives(folder):
        return (
            f"sweep {name} is still running: `batchscope attach {name}` shows it, "
            f"`batchscope stop {name}` stops it"
        )
    if state is None:
        starts = f"sweep {name} is starting: `batchscope attach {name}` shows it"
        return starts if starting else ""
    trials = len(state.trials) + trials_to_come(state)
    done = f"{state.count('finished')} of {trials} trials finished"
    if state.ended is None:
        return f"sweep {name} was interrupted, {done}: `batchscope resume {name}` resumes it"
    ending = f"sweep {name} {state.ended.state}, {done}"
    if state.ended.state == "finished":
        return f"{ending}: `batchscope attach {name}` shows it"
    why = f": {printable(state.ended.reason)}" if state.ended.reason else ""
    if code_refusal(folder, state):
        return f"{ending}{why}; it cannot be resumed as it is"
    return f"{ending}{why}; `batchscope resume {name}` resumes it"

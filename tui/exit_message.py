"""What the terminal says after the app is left: what goes on without it, and the way back."""

from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import conductor_lives


def farewell(folder: Path, state: SweepState | None = None) -> str:
    """A line about one sweep that was on the screen; `state` is what is known of it."""
    name = printable(folder.name)
    if conductor_lives(folder):
        return (
            f"sweep {name} is still running: `batchscope attach {name}` returns to it, "
            f"`batchscope stop {name}` ends it"
        )
    if state is None:
        return ""
    done = f"{state.count('finished')} of {len(state.trials)} trials finished"
    if state.ended is None:
        return f"sweep {name} was interrupted, {done}: `batchscope resume {name}` takes it up again"
    ending = f"sweep {name} {state.ended.state}, {done}"
    if state.ended.state == "finished":
        return f"{ending}: `batchscope attach {name}` shows it again"
    why = f": {printable(state.ended.reason)}" if state.ended.reason else ""
    return f"{ending}{why}; `batchscope resume {name}` takes it up again"

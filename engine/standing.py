"""How a sweep stands when somebody sums it up or takes its figures away.

Pure functions of a `SweepState`.
"""

from engine import lines
from engine.state import SweepPhase, SweepState


def complete(state: SweepState) -> bool:
    """Whether every trial is done and every line drawn, so that `resume` would find nothing."""
    done = all(trial.done for trial in state.trials.values())
    return bool(state.trials) and done and not lines.left(state)


def standing(state: SweepState, alive: bool) -> SweepPhase:
    """The sweep's state; `alive` says whether a conductor lived before the journal was read.

    A conductor that has said its last word may hold the lock for a moment longer.
    """
    return state.ended.state if state.ended else state.phase(alive)

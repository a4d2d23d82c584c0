"""How a sweep stands when somebody sums it up or takes its figures away.

Pure functions of a `SweepState`.
"""

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.journal.sweep_state import SweepPhase, SweepState


def complete(state: SweepState) -> bool:
    """Whether every trial is done and every line drawn, so that `resume` would find nothing."""
    done = all(trial.done for trial in state.trials.values())
    return bool(state.trials) and done and not interpolation_lines.left(state)


def standing(state: SweepState, alive: bool) -> SweepPhase:
    """The sweep's state; `alive` says whether a conductor lived before the journal was read.

    A conductor that has said its last word may hold the lock for a moment longer.
    """
    return state.ended.state if state.ended else state.phase(alive)

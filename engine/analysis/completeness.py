"""The state of a sweep for its summary and its export: pure functions of a `SweepState`."""

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.analysis.tuning import to_confirm
from batchscope.engine.journal.sweep_state import SweepPhase, SweepState


def complete(state: SweepState) -> bool:
    """Return whether trials, lines and fresh seeds are done, so that `resume` has nothing to do."""
    if not state.trials or not all(trial.done for trial in state.trials.values()):
        return False
    return not interpolation_lines.left(state) and not to_confirm(state)


def standing(state: SweepState, alive: bool) -> SweepPhase:
    """Return the phase of the sweep, or the state in which it ended.

    Args:
        alive: whether a conductor was running before the journal was read. One that has written
            its last event may hold the lock for a moment longer.
    """
    return state.ended.state if state.ended else state.phase(alive)

"""Says what a sweep does while no trial trains: from the data to the plan of its first trials."""

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.errors import printable
from batchscope.engine.journal.events import Measuring
from batchscope.engine.journal.sweep_state import SweepState

MEASURED = {
    "workers": "Choosing the number of workers: timing steps of {}",
    "micro-batches": "Measuring micro-batches of {}",
    "stacks": "Timing stacks of replicates of {}",
}
NAMED = 3


def trains(state: SweepState) -> bool:
    """Return whether training goes on, so that an estimate of the time left moves.

    Between two trials it does, too, unless something is measured for the next.
    """
    if state.count("running"):
        return True
    return bool(state.count("finished", "diverged") and state.workers and not state.measuring)


def activity(state: SweepState) -> str:
    """Return what goes on in a live sweep while no trial runs; empty if one does, or at the end."""
    if state.ended or state.count("running"):
        return ""
    if not state.trials:
        return "Reading the experiment"
    waiting = [trial for trial in state.trials.values() if trial.status == "queued"]
    if state.measuring:
        return _measured(state, list(state.measuring.values()))
    if state.fetching:
        return f"Downloading {printable(state.fetching.name)}"
    wanted = {trial.settings.data.name: trial.settings.task for trial in waiting}
    lacking = [name for name in wanted if name not in state.data]
    if lacking:
        tasks = all(wanted[name] is not None for name in lacking)
        return ("Importing the task " if tasks else "Preparing the data of ") + _named(lacking)
    if not state.workers:
        return "Starting the workers"
    if waiting:
        return "Preparing the next trials" if state.count("finished") else "Planning the trials"
    if left := interpolation_lines.left(state):
        return f"Interpolating between final weights: {len(left)} to do"
    return ""


def _measured(state: SweepState, measuring: list[Measuring]) -> str:
    """Return what is measured, of which configurations; several workers measure at once."""
    what = measuring[-1].what
    trials = (state.trials[each.trial] for each in measuring if each.what == what)
    return MEASURED[what].format(_named(list(dict.fromkeys(t.configuration for t in trials))))


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return printable(", ".join(names[:NAMED])) + more

"""Times that several replicates share: a stack trains them together, on one clock.

The seconds of an epoch are those in which all members of the stack trained it, so they say nothing
of one of them alone, and are no measure of a training that was stacked otherwise. They are one
measurement, however many members state it: whoever counts times counts one a stack.
"""

from collections.abc import Collection, Iterable, Sequence

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.registry import PEAKS
from batchscope.engine.metrics.registry import TIMED as TIMED
from batchscope.engine.spec import Claim

(PEAK,) = PEAKS
"""The live tensors of the whole stack: one measurement, too, but the same for any seeds."""
MEASURED = {"time": "timed", "peak": "measured"}
TIMED_AS = {"alone": "timed alone", "shared": "timed while others may run", "": ""}
"""The values of `run.timing` in words."""
NARROW = "They are one measurement: n counts stacks, and a single one has no interval."
"""Said beside times that are shared: counted by seeds, their intervals would be too narrow."""
ONE = 'one measurement: replicates of a stack share it; run.stack = "never" gives one a seed'
"""Why nothing can be judged of the time of a single stack."""


def compares_times(claims: Iterable[Claim]) -> bool:
    """Whether any claim is about a time: then all trials had better share theirs alike."""
    return any(claim.measure in TIMED for claim in claims)


def stack_sizes(trials: Iterable[TrialState]) -> frozenset[int]:
    """How many replicates trained together, for each of the trials that began."""
    return frozenset(trial.started.stacked for trial in trials if trial.started)


def stacked(trials: Iterable[TrialState]) -> int:
    """The size of the largest stack that one of the trials is a member of; 1 without any."""
    return max(stack_sizes(trials), default=1)


def timed_trials(trials: Sequence[TrialState]) -> list[TrialState]:
    """Trials whose times stand for a configuration: those that finished; before any did, all."""
    return [trial for trial in trials if trial.status == "finished"] or list(trials)


def clocks(state: SweepState, trials: Iterable[TrialState]) -> dict[str, list[TrialState]]:
    """The trials that began, by the measurement of time that they share.

    Each is named by the first member of its stack, which need not be among the trials. Those of
    the largest stack count alone: times of others are no measure of the same.
    """
    began = [trial for trial in trials if trial.started]
    size = stacked(began)
    groups: dict[str, list[TrialState]] = {}
    for trial in began:
        if trial.started and trial.started.stacked == size:
            groups.setdefault(_first(state, trial, size), []).append(trial)
    return groups


def _first(state: SweepState, trial: TrialState, size: int) -> str:
    """The first member of a trial's stack: by its plan, without one by the order of the seeds."""
    if size == 1:
        return trial.id
    plan = state.plans.get(trial.id)
    if plan is not None and len(plan.members) == size:
        return plan.members[0]
    alike = [
        each.id
        for each in state.replicates(trial.configuration)
        if each.started and each.started.stacked == size
    ]
    return alike[alike.index(trial.id) // size * size]


def stack_mark(size: int) -> str:
    """What marks a time of so many replicates; empty where it is of one alone."""
    return f"×{size}" if size > 1 else ""


def stack_note(sizes: Collection[int]) -> str:
    """What the marks mean; empty where no time is shared."""
    shared = sorted({size for size in sizes if size > 1})
    if not shared:
        return ""
    marks = ", ".join(map(stack_mark, shared))
    many = f"{shared[0]}" if len(shared) == 1 else "so many"
    return (
        f"{marks}: {many} replicates trained as one stack; an epoch's time is theirs together, "
        "samples/s that of one"
    )


def stack_caution(sizes: Collection[int], what: str = "time") -> str:
    """What to beware of where times, or peaks, of these were compared; empty where none is."""
    if max(sizes, default=1) == 1:
        return ""
    if len(set(sizes)) == 1:
        return f"each {what} is that of {max(sizes)} replicates trained as one stack"
    *others, last = sorted(set(sizes))
    named = f"{', '.join(map(str, others))} and {last}"
    return f"stacks of {named} replicates were {MEASURED[what]}: such {what}s do not compare"

"""Handles the times that several replicates share because they train as one stack.

The seconds of an epoch are those that all members of the stack took together. They cannot be
compared with the times of stacks of another size, and they are one measurement, however many
members report it: statistics of times count each stack once.
"""

from collections.abc import Collection, Iterable, Sequence

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.registry import TIMED as TIMED
from batchscope.engine.spec import Claim

MEASURED = {"time": "timed", "peak": "measured"}
TIMED_AS = {"alone": "timed alone", "shared": "timed while other trials may have run", "": ""}
"""The values of `run.timing` in words."""
NARROW = "A stack is one measurement: n counts stacks, and a single stack has no interval."
"""Said where times are shared: counted by seeds, their intervals would be too narrow."""
ONE = 'replicates in a stack share one time; set run.stack = "never" to time each seed'
"""Why the time of a single stack cannot be judged."""


def compares_times(claims: Iterable[Claim]) -> bool:
    """Return whether any claim is about a time: then all trials should be stacked alike."""
    return any(claim.measure in TIMED for claim in claims)


def stack_sizes(trials: Iterable[TrialState]) -> frozenset[int]:
    """Return the sizes of the stacks of the trials that began."""
    return frozenset(trial.started.stacked for trial in trials if trial.started)


def stacked(trials: Iterable[TrialState]) -> int:
    """Return the size of the largest stack among the trials; 1 without any."""
    return max(stack_sizes(trials), default=1)


def timed_trials(trials: Sequence[TrialState]) -> list[TrialState]:
    """Return the trials used for the times of a configuration: the finished ones, else all."""
    return [trial for trial in trials if trial.status == "finished"] or list(trials)


def clocks(state: SweepState, trials: Iterable[TrialState]) -> dict[str, list[TrialState]]:
    """Return the trials that began, grouped by the stack that they share.

    The key is the id of the stack's first member, which need not be among the trials. Only stacks
    of the largest size count: the times of others cannot be compared with theirs.
    """
    began = [trial for trial in trials if trial.started]
    size = stacked(began)
    groups: dict[str, list[TrialState]] = {}
    for trial in began:
        if trial.started and trial.started.stacked == size:
            groups.setdefault(_first(state, trial, size), []).append(trial)
    return groups


def _first(state: SweepState, trial: TrialState, size: int) -> str:
    """Return the first member of a trial's stack, by its plan, else by the order of the seeds."""
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
    """Return the mark for a time that `size` replicates share; empty for a single replicate."""
    return f"×{size}" if size > 1 else ""


def stack_note(sizes: Collection[int]) -> str:
    """Return a sentence that explains the marks; empty if no time is shared."""
    shared = sorted({size for size in sizes if size > 1})
    if not shared:
        return ""
    marks = ", ".join(map(stack_mark, shared))
    many = f"{shared[0]}" if len(shared) == 1 else "that number of"
    return (
        f"{marks}: {many} replicates trained as one stack; the epoch time is for the whole stack, "
        "samples/s for one replicate"
    )


def stack_caution(sizes: Collection[int], what: str = "time") -> str:
    """Return a caution about comparing times, or peaks, of these stacks; empty if not needed."""
    if max(sizes, default=1) == 1:
        return ""
    if len(set(sizes)) == 1:
        return f"each {what} is that of {max(sizes)} replicates trained as one stack"
    *others, last = sorted(set(sizes))
    named = f"{', '.join(map(str, others))} and {last}"
    return f"stacks of {named} replicates were {MEASURED[what]}: such {what}s cannot be compared"

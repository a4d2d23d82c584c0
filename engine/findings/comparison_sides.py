"""One side of a comparison: the values of its configurations, seed by seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from batchscope.engine.analysis.bias_variance import FEW
from batchscope.engine.analysis.stack_times import ONE, TIMED, clocks, stack_sizes
from batchscope.engine.analysis.statistics import Estimate, paired, welch
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition
from batchscope.engine.metrics.metric import OWN, Spot
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.metrics.rounding_variance import rounding_variance
from batchscope.engine.metrics.trial_registry import TO_TARGET
from batchscope.engine.spec import Configuration

LOST = ("diverged", "failed")
NEVER = {"diverged": "diverged", "failed": "failed", "skipped": "was skipped"}
"""How a trial that will have no value ended, in words."""
OPEN = ("queued", "running", "stopped")
LEAST_SEEDS = 2
NAMED = 3
"""How many configurations that a verdict leaves out are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Side:
    """The values of finished trials by seed, and why other seeds have none.

    Replicates of a stack share their time: for times and paces each stack has one value, under the
    seed of its first member, and only the largest stacks count.

    Args:
        values: the value of each seed, averaged over the configurations.
        finished: how many trials finished.
        ended: how many seeds every configuration of the side finished.
        lost: the trials that diverged or failed.
        pending: how many trials are still to end.
        start: what initial weights and data order depend on besides the seed.
        floor: the variance of the rounding in a value.
        shared: whether a configuration was timed while other trials ran.
        gone: which configurations will have no value, and why.
        stacks: the sizes of the stacks that contribute values.
    """

    name: str
    measure: str
    values: dict[int, float]
    seeds: int
    finished: int
    lost: frozenset[str]
    pending: int
    start: frozenset[bytes]
    floor: float
    shared: bool = False
    gone: tuple[str, ...] = ()
    stacks: frozenset[int] = frozenset()
    ended: int = 0

    @property
    def thin(self) -> bool:
        """Whether there are too few seeds for a comparison."""
        return len(self.values) < LEAST_SEEDS

    def lack(self) -> str:
        """Return a sentence that says why there are too few seeds."""
        if self.gone:
            return listed(self.gone)
        if self.finished and not self.values and self.measure in ErrorDecomposition._fields:
            return FEW
        if self.finished and not self.values and not self.pending:
            if self.measure in TO_TARGET:
                return f"{self.name}: no seed reached the target"
            return f"{self.name}: no seed has a value for {self.measure}"
        if self.measure in TIMED and self.values and max(self.stacks, default=1) > 1:
            return ONE
        if self.seeds < LEAST_SEEDS:
            return f"{self.name}: one seed has no spread; set seeds = 2 or more"
        if len(self.values) == self.ended:
            return f"{self.name}: {self.ended} of {self.seeds} seeds finished"
        has = "reached the target" if self.measure in TO_TARGET else f"have {self.measure}"
        return f"{self.name}: {len(self.values)} of {self.ended} finished seeds {has}"


def gather(
    state: SweepState,
    measure: str,
    configurations: Sequence[Configuration],
    name: str = "",
    spot: Spot = OWN,
) -> Side:
    """Return the mean over the configurations for every seed that all of them finished.

    A seed that only some of them finished is left out, so that all means are over the same
    configurations. If one configuration will never finish a seed, no seed is left.

    Args:
        spot: where in each training the measure is read.
    """
    groups = [state.replicates(each.id) for each in configurations]
    everyone = [trial for group in groups for trial in group]
    measured = [_values(state, group, measure, spot) for group in groups]
    common = set.intersection(*(set(values) for values in measured)) if measured else set()
    floors = [
        rounding_variance(state, trial, measure, values[trial.seed])
        for group, values in zip(groups, measured, strict=True)
        for trial in group
        if trial.seed in values
    ]
    return Side(
        name=name or " and ".join(quoted(each.label) for each in configurations),
        measure=measure,
        values={
            seed: sum(values[seed] for values in measured) / len(measured)
            for seed in sorted(common)
        },
        seeds=len({trial.seed for trial in everyone}),
        finished=sum(trial.status == "finished" for trial in everyone),
        lost=frozenset(trial.id for trial in everyone if trial.status in LOST),
        pending=sum(trial.status in OPEN for trial in everyone),
        start=frozenset(_start(each) for each in configurations),
        floor=max(floors, default=0.0) / max(1, len(measured)),
        shared=any(each.settings.run.timing == "shared" for each in configurations),
        gone=_gone(state, configurations),
        ended=_ended(groups),
        stacks=frozenset(size for group in groups for size in _stacks(state, group, measure)),
    )


def fate(state: SweepState, configuration: Configuration) -> str:
    """Return how all trials of a configuration ended without a value; empty if one may get one."""
    statuses = {trial.status for trial in state.replicates(configuration.id)}
    if not statuses <= NEVER.keys():
        return ""
    return " or ".join(NEVER[status] for status in NEVER if status in statuses)


def quoted(label: str) -> str:
    """Return a label for a list, in quotes unless it is a number: it may contain commas."""
    return label if label.isdigit() else f"“{label}”"


def named(label: str) -> str:
    """Return the label in quotes, or "batch size 64" if it is a number."""
    return f"batch size {label}" if label.isdigit() else quoted(label)


def listed(remarks: Sequence[str]) -> str:
    """Return the first few remarks, and how many more there are."""
    more = len(remarks) - NAMED
    return "; ".join([*remarks[:NAMED], *([f"and {more} more"] if more > 0 else [])])


def share_seeds(left: Side, right: Side) -> bool:
    """Return whether a seed has the same initial weights and data order on both sides."""
    return left.start == right.start


def difference(left: Side, right: Side) -> Estimate | None:
    """Estimate left − right: paired by seed where that is possible, else by Welch's t.

    None if fewer than two seeds can be used.
    """
    floors = (left.floor, right.floor)
    if not share_seeds(left, right):
        return welch(list(left.values.values()), list(right.values.values()), floors)
    common = [seed for seed in left.values if seed in right.values]
    if len(common) < LEAST_SEEDS:
        return None
    return paired([left.values[s] for s in common], [right.values[s] for s in common], floors)


def above(side: Side, value: float) -> Estimate | None:
    """Estimate the mean of the side − value by a one-sample t (Student 1908).

    None if fewer than two seeds can be used.
    """
    values = list(side.values.values())
    return paired(values, [value] * len(values), (side.floor, 0.0))


def _values(
    state: SweepState, trials: Iterable[TrialState], measure: str, spot: Spot
) -> dict[int, float]:
    """Return the values of the finished trials by seed; for a time, one mean for each stack."""
    finished = [trial for trial in trials if trial.status == "finished"]
    if measure in TIMED:
        measured = {
            state.trials[first].seed: members for first, members in clocks(state, finished).items()
        }
    else:
        measured = {trial.seed: [trial] for trial in finished}
    means = {}
    for seed, members in measured.items():
        values = [value_of(state, trial, measure, spot) for trial in members]
        known = [value for value in values if value is not None]
        if known:
            means[seed] = sum(known) / len(known)
    return means


def _ended(groups: Sequence[Sequence[TrialState]]) -> int:
    """Return the number of seeds that are finished in every group of replicates."""
    done = [{trial.seed for trial in group if trial.status == "finished"} for group in groups]
    return len(set.intersection(*done)) if done else 0


def _stacks(state: SweepState, trials: Iterable[TrialState], measure: str) -> frozenset[int]:
    """Return the sizes of the stacks that contribute values."""
    finished = [trial for trial in trials if trial.status == "finished"]
    if measure in TIMED:
        finished = [trial for members in clocks(state, finished).values() for trial in members]
    return stack_sizes(finished)


def _gone(state: SweepState, configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return why configurations of a side will have no value."""
    fates = [(named(each.label), fate(state, each)) for each in configurations]
    return tuple(f"every trial of {name} {why}" for name, why in fates if why)


def _start(configuration: Configuration) -> bytes:
    """Encode data, network and sampling, which with the seed decide weights and data order."""
    settings = configuration.settings
    return msgspec.json.encode([settings.data, settings.model, settings.train.sampling])

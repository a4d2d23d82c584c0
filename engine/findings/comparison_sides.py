"""One side of a comparison: what its configurations measured, seed by seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from batchscope.engine.analysis.bias_variance import FEW, ErrorDecomposition
from batchscope.engine.analysis.measures import rounding_variance, value_of
from batchscope.engine.analysis.probe_values import OWN, Spot
from batchscope.engine.analysis.stack_times import ONE, TIMED, clocks, stack_sizes
from batchscope.engine.analysis.statistics import Estimate, paired, welch
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.spec import Configuration

LOST = ("diverged", "failed")
NEVER = {"diverged": "diverged", "failed": "failed", "skipped": "was skipped"}
"""How a trial ends that will have no value, in words."""
TO_TARGET = ("steps_to_target", "samples_to_target", "seconds_to_target")
"""Measures that a finished trial has if it reached its target."""
OPEN = ("queued", "running", "stopped")
LEAST_SEEDS = 2
NAMED = 3
"""As many configurations are named that a verdict does without; of more, how many."""


@dataclass(frozen=True, slots=True)
class Side:
    """The values of finished trials by seed, and why others have none.

    `finished` counts trials, `ended` seeds that every configuration of the side finished.

    Replicates of a stack share their time: of times and paces each stack has one value, by the
    seed of its first member, and those of the largest stacks count alone.

    `lost` are the trials that diverged or failed, `start` is what initial weights and data order
    depend on beside the seed, `floor` the variance of a value's rounding. `shared` tells that a
    configuration was timed while others ran, `gone` which ones will have no value, and why;
    `stacks` how many replicates trained together whose values count.
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
        """Whether there are too few seeds to judge by."""
        return len(self.values) < LEAST_SEEDS

    def lack(self) -> str:
        """Why it is thin."""
        if self.gone:
            return f"{self.name}: {listed(self.gone)}"
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
    """The mean over the configurations for every seed that all of them finished.

    `spot` says where in each training a measure of the probe is read.

    A seed that only some of them finished is left out, so that no mean is over different ones;
    where one of them will never finish a seed, none is left.
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
        name=name or " and ".join(each.label for each in configurations),
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
    """How all trials of a configuration ended that will have no value; empty while one may."""
    statuses = {trial.status for trial in state.replicates(configuration.id)}
    if not statuses <= NEVER.keys():
        return ""
    return " or ".join(NEVER[status] for status in NEVER if status in statuses)


def listed(remarks: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(remarks) - NAMED
    return "; ".join([*remarks[:NAMED], *([f"and {more} more like these"] if more > 0 else [])])


def share_seeds(left: Side, right: Side) -> bool:
    """Whether a seed means the same initial weights and data order on both sides."""
    return left.start == right.start


def difference(left: Side, right: Side) -> Estimate | None:
    """Left − right: over common seeds where these pair the sides, else by Welch's t.

    None where fewer than two seeds can be used.
    """
    floors = (left.floor, right.floor)
    if not share_seeds(left, right):
        return welch(list(left.values.values()), list(right.values.values()), floors)
    common = [seed for seed in left.values if seed in right.values]
    if len(common) < LEAST_SEEDS:
        return None
    return paired([left.values[s] for s in common], [right.values[s] for s in common], floors)


def above(side: Side, value: float) -> Estimate | None:
    """Mean of the side − value, a number without an uncertainty: a one-sample t (Student 1908).

    None where fewer than two seeds can be used.
    """
    values = list(side.values.values())
    return paired(values, [value] * len(values), (side.floor, 0.0))


def _values(
    state: SweepState, trials: Iterable[TrialState], measure: str, spot: Spot
) -> dict[int, float]:
    """The values of the finished trials by seed; of a time one a stack, the mean of its members."""
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
    """How many seeds all groups of replicates finished."""
    done = [{trial.seed for trial in group if trial.status == "finished"} for group in groups]
    return len(set.intersection(*done)) if done else 0


def _stacks(state: SweepState, trials: Iterable[TrialState], measure: str) -> frozenset[int]:
    """The sizes of the stacks whose values count."""
    finished = [trial for trial in trials if trial.status == "finished"]
    if measure in TIMED:
        finished = [trial for members in clocks(state, finished).values() for trial in members]
    return stack_sizes(finished)


def _gone(state: SweepState, configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Why configurations of a side will have no value; with their labels if it has several."""
    fates = [(each.label, fate(state, each)) for each in configurations]
    if len(fates) == 1:
        return tuple(f"every trial {why}" for _, why in fates if why)
    return tuple(f"every trial of {label} {why}" for label, why in fates if why)


def _start(configuration: Configuration) -> bytes:
    """Data, network and sampling: with the seed they decide initial weights and data order."""
    settings = configuration.settings
    return msgspec.json.encode([settings.data, settings.model, settings.train.sampling])

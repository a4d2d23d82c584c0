"""Which trials are the ends of a line between two solutions, and which lines are left to draw.

Pure functions of a `SweepState`: a line is left as long as the journal does not hold it.
"""

from collections.abc import Iterator
from statistics import fmean, stdev
from typing import NamedTuple

from batchscope.engine.journal.instrument_events import LinePoint
from batchscope.engine.journal.sweep_state import SweepState, TrialState

Pair = tuple[TrialState, TrialState]
UNFINISHED = {"diverged": "diverged", "failed": "failed", "skipped": "was skipped"}
FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


class OverSeeds(NamedTuple):
    """A figure at one α over the seeds: mean, sample deviation (None of one seed), and how many."""

    alpha: float
    mean: float
    deviation: float | None
    seeds: int


def pairs(state: SweepState) -> Iterator[Pair]:
    """Start and end of every line that a sweep asks for: one a seed that both have."""
    line = state.opened.interpolation if state.opened else None
    if line is None:
        return
    ends = {trial.seed: trial for trial in state.replicates(line.end)}
    for trial in state.replicates(line.start):
        if trial.seed in ends:
            yield trial, ends[trial.seed]


def is_end(state: SweepState, trial: str) -> bool:
    """Whether a line begins or ends at a trial."""
    return any(trial in (start.id, end.id) for start, end in pairs(state))


def left(state: SweepState) -> list[Pair]:
    """The lines that can be drawn and are not."""
    return [
        (start, end)
        for start, end in pairs(state)
        if start.status == end.status == "finished" and (start.id, end.id) not in state.lines
    ]


def hindered(state: SweepState) -> Iterator[str]:
    """Of the lines that have an end which did not finish, which one that is, in a sentence."""
    for start, end in pairs(state):
        missing = [each for each in (start, end) if each.status in UNFINISHED]
        if missing and (start.id, end.id) not in state.lines:
            why = " and ".join(f"{each.id} {UNFINISHED[each.status]}" for each in missing)
            yield f"no line from {start.id} to {end.id}: {why}"


def curve(state: SweepState, figure: str) -> list[OverSeeds]:
    """One of `FIGURES` along the lines that were drawn, over the seeds; α rises.

    A seed whose loss is not finite at a point is left out there.
    """
    drawn: dict[float, list[float]] = {}
    for point in _points(state):
        value = getattr(point, figure)
        if value is not None:
            drawn.setdefault(point.alpha, []).append(value)
    return [
        OverSeeds(alpha, fmean(values), stdev(values) if len(values) > 1 else None, len(values))
        for alpha, values in sorted(drawn.items())
    ]


def _points(state: SweepState) -> Iterator[LinePoint]:
    for event in state.lines.values():
        yield from event.points

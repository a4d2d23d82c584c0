"""The lines between two solutions: their ends, and which are still to be measured.

Pure functions of a `SweepState`: a line is to be measured until the journal has it.
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
    """A figure at one α over the seeds: mean, sample deviation (None for one seed), and count."""

    alpha: float
    mean: float
    deviation: float | None
    seeds: int


def pairs(state: SweepState) -> Iterator[Pair]:
    """Yield the start and end trials of each line: one line per seed that both sides have."""
    line = state.opened.interpolation if state.opened else None
    if line is None:
        return
    ends = {trial.seed: trial for trial in state.replicates(line.end)}
    for trial in state.replicates(line.start):
        if trial.seed in ends:
            yield trial, ends[trial.seed]


def is_end(state: SweepState, trial: str) -> bool:
    """Return whether a trial is the start or the end of a line."""
    return any(trial in (start.id, end.id) for start, end in pairs(state))


def left(state: SweepState) -> list[Pair]:
    """Return the lines that can be measured but have no result yet."""
    return [
        (start, end)
        for start, end in pairs(state)
        if start.status == end.status == "finished" and (start.id, end.id) not in state.lines
    ]


def hindered(state: SweepState) -> Iterator[str]:
    """Yield a sentence for each line that cannot be measured because a trial did not finish."""
    for start, end in pairs(state):
        missing = [each for each in (start, end) if each.status in UNFINISHED]
        if missing and (start.id, end.id) not in state.lines:
            why = " and ".join(f"{each.id} {UNFINISHED[each.status]}" for each in missing)
            yield f"no line from {start.id} to {end.id}: {why}"


def curve(state: SweepState, figure: str) -> list[OverSeeds]:
    """Return one of `FIGURES` at each α, ascending, as mean and deviation over the seeds.

    A seed with a loss that is not finite at a point is left out there.
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

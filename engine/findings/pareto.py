"""Time against accuracy: which configurations no other beats in both (the Pareto front).

Means over the finished seeds. A configuration of which a trial diverged or failed is left out, as
in the recommendation: a mean over the seeds that survived would flatter it. Times of stacks of
several sizes do not compare, so each size of stack has a front of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.analysis.statistics import LEVEL, p_value
from batchscope.engine.findings.comparison_sides import Side, difference, gather
from batchscope.engine.findings.configuration_summary import Mean, mean_over
from batchscope.engine.journal.sweep_state import SweepState

ACCURACY, TIME = "test_accuracy", "training_seconds"


class _Measured(NamedTuple):
    """A configuration with its times and accuracies, and the means of both."""

    configuration: str
    times: Side
    accuracies: Side
    time: Mean
    accuracy: Mean


class Point(Struct, frozen=True, kw_only=True):
    """One configuration: its seconds of training, its test accuracy, and where it lies.

    `front` goes by the means, among those of equal `stacked`. `told` says of a point behind the
    front whether one of the front is ahead of it in both, and in one of them at least by more than
    the seeds leave to chance.
    So many as `stacked` replicates share the seconds.
    """

    configuration: str
    label: str
    batch_size: int
    seconds: Mean
    accuracy: Mean
    front: bool
    told: bool
    stacked: int = 1


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of the points (time, accuracy) no other beats: as fast, as accurate, and one of both.

    Points that are alike in both are on the front together.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    on_front, best, holder = [False] * len(points), float("-inf"), None
    for at in order:
        if points[at][1] > best or points[at] == holder:
            on_front[at], best, holder = True, points[at][1], points[at]
    return on_front


def pareto(state: SweepState) -> list[Point]:
    """Every configuration with a finished seed and none lost, smaller batch sizes first."""
    measured: list[_Measured] = []
    for name in by_batch_size(state):
        members = [state.configurations[name]]
        times, accuracies = gather(state, TIME, members), gather(state, ACCURACY, members)
        time = mean_over(list(times.values.values()), times.floor)
        accuracy = mean_over(list(accuracies.values.values()), accuracies.floor)
        if time is not None and accuracy is not None and not accuracies.lost:
            measured.append(_Measured(name, times, accuracies, time, accuracy))
    leaders = {
        size: _leaders([each for each in measured if _stacked(each) == size])
        for size in set(map(_stacked, measured))
    }
    return [
        Point(
            configuration=each.configuration,
            label=state.configurations[each.configuration].label,
            batch_size=state.configurations[each.configuration].settings.train.batch_size,
            seconds=each.time,
            accuracy=each.accuracy,
            front=each in leaders[_stacked(each)],
            told=each not in leaders[_stacked(each)]
            and any(_behind(each, leader) for leader in leaders[_stacked(each)]),
            stacked=_stacked(each),
        )
        for each in measured
    ]


def _stacked(one: _Measured) -> int:
    """How many replicates share each of its times."""
    return max(one.times.stacks, default=1)


def _leaders(group: Sequence[_Measured]) -> list[_Measured]:
    """Those on the front among these, which were stacked alike."""
    ahead = front([(each.time.mean, each.accuracy.mean) for each in group])
    return [each for each, first in zip(group, ahead, strict=True) if first]


def _behind(one: _Measured, leader: _Measured) -> bool:
    if leader.time.mean > one.time.mean or leader.accuracy.mean < one.accuracy.mean:
        return False
    return _apart(one.times, leader.times) or _apart(one.accuracies, leader.accuracies)


def _apart(one: Side, other: Side) -> bool:
    estimate = difference(one, other)
    p = p_value(estimate) if estimate else None
    return p is not None and p < LEVEL

"""Time against accuracy: which configurations no other beats in both (the Pareto front).

Means over the finished seeds. A configuration of which a trial diverged or failed is left out, as
in the recommendation: a mean over the seeds that survived would flatter it. Times of stacks of
several sizes do not compare, so each size of stack has a front of its own.
"""

from collections.abc import Sequence

from msgspec import Struct

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.analysis.statistics import LEVEL, p_value
from batchscope.engine.findings.comparison_sides import Side, difference, gather
from batchscope.engine.findings.configuration_summary import Mean, mean_over
from batchscope.engine.journal.sweep_state import SweepState

ACCURACY, TIME = "test_accuracy", "training_seconds"
_Found = tuple[str, Side, Side, Mean, Mean]
"""A configuration with its times and accuracies, and the means of both."""


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
    found, best, holder = [False] * len(points), float("-inf"), None
    for at in order:
        if points[at][1] > best or points[at] == holder:
            found[at], best, holder = True, points[at][1], points[at]
    return found


def pareto(state: SweepState) -> list[Point]:
    """Every configuration with a finished seed and none lost, smaller batch sizes first."""
    found: list[_Found] = []
    for name in by_batch_size(state):
        time, accuracy = (gather(state, each, [state.configurations[name]]) for each in _MEASURES)
        means = [mean_over(list(side.values.values()), side.floor) for side in (time, accuracy)]
        if means[0] is not None and means[1] is not None and not accuracy.lost:
            found.append((name, time, accuracy, means[0], means[1]))
    leaders = {
        size: _leaders([each for each in found if _stacked(each) == size])
        for size in set(map(_stacked, found))
    }
    return [
        Point(
            configuration=each[0],
            label=state.configurations[each[0]].label,
            batch_size=state.configurations[each[0]].settings.train.batch_size,
            seconds=each[3],
            accuracy=each[4],
            front=each in leaders[_stacked(each)],
            told=each not in leaders[_stacked(each)]
            and any(_behind(each, leader) for leader in leaders[_stacked(each)]),
            stacked=_stacked(each),
        )
        for each in found
    ]


_MEASURES = (TIME, ACCURACY)


def _stacked(found: _Found) -> int:
    return max(found[1].stacks, default=1)


def _leaders(found: Sequence[_Found]) -> list[_Found]:
    """Those on the front among these, which were stacked alike."""
    ahead = front([(time.mean, accuracy.mean) for *_, time, accuracy in found])
    return [each for each, first in zip(found, ahead, strict=True) if first]


def _behind(one: _Found, leader: _Found) -> bool:
    if leader[3].mean > one[3].mean or leader[4].mean < one[4].mean:
        return False
    return _apart(one[1], leader[1]) or _apart(one[2], leader[2])


def _apart(one: Side, other: Side) -> bool:
    found = difference(one, other)
    p = p_value(found) if found else None
    return p is not None and p < LEVEL

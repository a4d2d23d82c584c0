"""Time against accuracy: which configurations no other beats in both (the Pareto front).

Means over the finished seeds. A configuration of which a trial diverged or failed is left out, as
in the recommendation: a mean over the seeds that survived would flatter it.
"""

from collections.abc import Sequence

from msgspec import Struct

from engine.figures import by_batch_size
from engine.findings.sides import Side, difference, gather
from engine.findings.statistics import LEVEL, p_value
from engine.findings.summary import Mean, mean_over
from engine.state import SweepState

ACCURACY, TIME = "test_accuracy", "training_seconds"


class Point(Struct, frozen=True, kw_only=True):
    """One configuration: its seconds of training, its test accuracy, and where it lies.

    `front` goes by the means. `told` says of a point behind the front whether one of the front is
    ahead of it in both, and in one of them at least by more than the seeds leave to chance.
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
    found: list[tuple[str, Side, Side, Mean, Mean]] = []
    for name in by_batch_size(state):
        time, accuracy = (gather(state, each, [state.configurations[name]]) for each in _MEASURES)
        means = [mean_over(list(side.values.values()), side.floor) for side in (time, accuracy)]
        if means[0] is not None and means[1] is not None and not accuracy.lost:
            found.append((name, time, accuracy, means[0], means[1]))
    ahead = front([(time.mean, accuracy.mean) for *_, time, accuracy in found])
    leaders = [each for each, first in zip(found, ahead, strict=True) if first]
    return [
        Point(
            configuration=each[0],
            label=state.configurations[each[0]].label,
            batch_size=state.configurations[each[0]].settings.train.batch_size,
            seconds=each[3],
            accuracy=each[4],
            front=first,
            told=not first and any(_behind(each, leader) for leader in leaders),
            stacked=max(each[1].stacks, default=1),
        )
        for each, first in zip(found, ahead, strict=True)
    ]


_MEASURES = (TIME, ACCURACY)


def _behind(
    one: tuple[str, Side, Side, Mean, Mean], leader: tuple[str, Side, Side, Mean, Mean]
) -> bool:
    if leader[3].mean > one[3].mean or leader[4].mean < one[4].mean:
        return False
    return _apart(one[1], leader[1]) or _apart(one[2], leader[2])


def _apart(one: Side, other: Side) -> bool:
    found = difference(one, other)
    p = p_value(found) if found else None
    return p is not None and p < LEVEL

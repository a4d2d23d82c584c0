"""Finds the Pareto front of training time against test accuracy, or the metric of a task.

Both are means over the finished seeds. A configuration with a trial that diverged or failed is
left out, as in the recommendation: a mean over the surviving seeds would flatter it. Times of
stacks of different sizes cannot be compared, so each stack size has its own front.

The front itself is an observation: it goes by the means. Of a point behind the front, each point of
the front that is at least as good in both means is compared with it by two t tests, of the times
and of the metrics. The p values of all these tests are adjusted together (Holm 1979). Only the
differences are judged, not the dominance: that would take a test in both dimensions.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from batchscope.engine.analysis.comparable import incomparable
from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.analysis.statistics import LEVEL, holm, p_value
from batchscope.engine.findings.comparison_sides import Side, difference, gather
from batchscope.engine.findings.configuration_summary import Mean, mean_over
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import primary_metric

TIME = "training_seconds"


class _Measured(NamedTuple):
    """A configuration with its times and its metric by seed, and the means of both.

    `rank` is the mean of the metric, negated where lower is better.
    """

    configuration: str
    times: Side
    values: Side
    time: Mean
    value: Mean
    rank: float


class Point(Struct, frozen=True, kw_only=True):
    """One configuration in the plane of training time and the primary metric of the sweep.

    Attributes:
        configuration, label, batch_size: which configuration it is.
        seconds: training time in seconds.
        accuracy: test accuracy as a fraction; None if the sweep is told by another metric.
        front: whether it is on the front, by the means, among those of equal `stacked`.
        told: for a point behind the front, whether a point of the front is at least as good in
            both means and significantly better in one of them, after adjustment for the number of
            tests.
        stacked: number of replicates that share the seconds.
        measure: the metric that is compared, `test_accuracy` unless a task has none.
        value: its mean; that of the accuracy if it is one.
    """

    configuration: str
    label: str
    batch_size: int
    seconds: Mean
    accuracy: Mean | None
    front: bool
    told: bool
    stacked: int = 1
    measure: str = "test_accuracy"
    value: Mean


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each point (time, accuracy) whether it is on the Pareto front.

    A point is not on the front if another is at least as fast and as accurate, and better in one.
    Points that are equal in both are on the front together.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    on_front, best, holder = [False] * len(points), float("-inf"), None
    for at in order:
        if points[at][1] > best or points[at] == holder:
            on_front[at], best, holder = True, points[at][1], points[at]
    return on_front


def pareto(state: SweepState) -> list[Point]:
    """Return a point for every configuration with a finished seed and no lost trial.

    Smaller batch sizes come first. Tasks whose results cannot be compared have none.
    """
    if any(each.settings.task for each in state.configurations.values()) and incomparable(state):
        return []
    measured: list[_Measured] = []
    metric = primary_metric(state)
    sign = 1 if metric.better == "higher" else -1
    for name in by_batch_size(state):
        members = [state.configurations[name]]
        times, values = gather(state, TIME, members), gather(state, metric.measure, members)
        time = mean_over(list(times.values.values()), times.floor)
        value = mean_over(list(values.values.values()), values.floor)
        if time is not None and value is not None and not values.lost:
            measured.append(_Measured(name, times, values, time, value, sign * value.mean))
    leaders = {
        size: _leaders([each for each in measured if _stacked(each) == size])
        for size in set(map(_stacked, measured))
    }
    told = _told(measured, leaders)
    ahead = {each.configuration for group in leaders.values() for each in group}
    return [
        Point(
            configuration=each.configuration,
            label=state.configurations[each.configuration].label,
            batch_size=state.configurations[each.configuration].settings.train.batch_size,
            seconds=each.time,
            accuracy=each.value if metric.is_accuracy else None,
            front=each.configuration in ahead,
            told=each.configuration in told,
            stacked=_stacked(each),
            measure=metric.measure,
            value=each.value,
        )
        for each in measured
    ]


def _stacked(one: _Measured) -> int:
    """Return the number of replicates that share each time of a configuration."""
    return max(one.times.stacks, default=1)


def _leaders(group: Sequence[_Measured]) -> list[_Measured]:
    """Return the configurations on the front; all have the same stack size."""
    ahead = front([(each.time.mean, each.rank) for each in group])
    return [each for each, first in zip(group, ahead, strict=True) if first]


def _told(
    measured: Sequence[_Measured], leaders: Mapping[int, Sequence[_Measured]]
) -> frozenset[str]:
    """Return the configurations that are significantly worse than one on the front."""
    tested: list[tuple[str, float]] = []
    ahead = {each.configuration for group in leaders.values() for each in group}
    for each in measured:
        for leader in leaders[_stacked(each)] if each.configuration not in ahead else ():
            if leader.time.mean <= each.time.mean and leader.rank >= each.rank:
                sides = (each.times, leader.times), (each.values, leader.values)
                tested += [(each.configuration, _p(one, other)) for one, other in sides]
    adjusted = holm([p for _, p in tested])
    return frozenset(name for (name, _), p in zip(tested, adjusted, strict=True) if p < LEVEL)


def _p(one: Side, other: Side) -> float:
    """Return the p value of no difference; 1 if nothing can be tested."""
    estimate = difference(one, other)
    p = p_value(estimate) if estimate else None
    return 1.0 if p is None else p

"""The results of a whole sweep in two numbers: the best and the worst mean of its metric."""

import math
from typing import NamedTuple

from batchscope.engine.analysis.comparable import incomparable
from batchscope.engine.analysis.figures import last_values, preferred
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import primary_metric


class FinalRange(NamedTuple):
    """The means of a metric over the finished seeds of each configuration.

    Attributes:
        measure: the metric, such as `test_mae`.
        best, worst: of the means; that one is the best does not show that it is better than others.
    """

    measure: str
    best: float
    worst: float


def final_range(state: SweepState) -> FinalRange | None:
    """Return the range of the results; None without any, or if they cannot be compared."""
    metric = primary_metric(state)
    means = []
    for name in preferred(state):
        values = [each for each in last_values(state, name, metric.of) if math.isfinite(each)]
        if values:  # of the largest floats the sum is no float, but that of their parts is
            means.append(math.fsum(value / len(values) for value in values))
    if not means or incomparable(state):
        return None
    ends = min(means), max(means)
    best, worst = ends if metric.better == "lower" else ends[::-1]
    return FinalRange(metric.measure, best, worst)

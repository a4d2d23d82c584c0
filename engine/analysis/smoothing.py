"""Smoothing of a series by an exponential moving average."""

import math
from collections.abc import Iterable


def smoothed(values: Iterable[float], strength: float) -> list[float]:
    """The average of each value and all before it, each weighing `strength` times its successor.

    Divided by the sum of these weights, so that the beginning is drawn neither to zero nor to the
    first value: the moving average with its bias corrected, as Kingma and Ba (2015) correct the
    moments of Adam. What is not finite stays where it is, and weighs nothing in what follows.

    Args:
        values: the series.
        strength: from 0, which changes nothing, to below 1.
    """
    averages, mean, weight = [], 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            averages.append(value)
            continue
        weight = strength * weight + 1.0
        mean = value if weight == 1.0 else mean + (value - mean) / weight
        averages.append(mean)
    return averages

"""Smooths a series by an exponential moving average."""

import math
from collections.abc import Iterable


def smoothed(values: Iterable[float], strength: float) -> list[float]:
    """Return the exponential moving average: each value weighs `strength` times the next one.

    The average is divided by the sum of the weights, so that the beginning is biased neither
    towards zero nor towards the first value, as Kingma and Ba (2015) correct the moments of Adam.
    A value that is not finite is kept, and has no weight in what follows.

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

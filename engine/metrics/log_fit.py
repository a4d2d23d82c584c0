"""Fits a line to y over the logarithm of x."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple


class LogFit(NamedTuple):
    """The line y = `intercept` + `slope` · ln x; `r2` is the share of y's variance it explains."""

    slope: float
    intercept: float
    r2: float


def log_fit(points: Iterable[tuple[float, float]]) -> LogFit | None:
    """Fit y on ln x by least squares.

    Hoffer et al. 2017 (arXiv:1705.08741) find that distance grows like the logarithm of the steps.

    Returns:
        None with fewer than three points of positive x, or where all have the same x. Where y
        never varies, r2 is 1.
    """
    logs = [(math.log(x), y) for x, y in points if x > 0]
    if len(logs) < 3:
        return None
    middle, level = fmean(x for x, _ in logs), fmean(y for _, y in logs)
    across = math.fsum((x - middle) ** 2 for x, _ in logs)
    if not across:
        return None
    slope = math.fsum((x - middle) * (y - level) for x, y in logs) / across
    intercept = level - slope * middle
    total = math.fsum((y - level) ** 2 for _, y in logs)
    left = math.fsum((y - intercept - slope * x) ** 2 for x, y in logs)
    return LogFit(slope, intercept, 1.0 - left / total if total else 1.0)

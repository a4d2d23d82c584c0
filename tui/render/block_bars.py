"""Draws bars and histograms from block characters, without Textual and numpy."""

import math
from collections.abc import Sequence

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = " ▁▂▃▄▅▆▇█"


def bar(fraction: float, width: int) -> str:
    """Return a horizontal bar, to an eighth of a cell; a fraction above 0 is always visible."""
    if not math.isfinite(fraction) or fraction <= 0 or width <= 0:
        return " " * max(0, width)
    eighths = max(1, round(min(1.0, fraction) * width * 8))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(width)


def resample(bins: dict[int, int], low: float, high: float, columns: int) -> list[float]:
    """Redistribute the counts of equal bins (bin `i` covers i to i + 1) over columns.

    A bin that crosses the border of two columns is shared out in proportion.
    """
    shares = [0.0] * max(0, columns)
    if not shares or not high > low:
        return shares
    scale = columns / (high - low)
    for index, count in bins.items():
        left, right = (index - low) * scale, (index + 1 - low) * scale
        for column in range(max(0, math.floor(left)), min(columns, math.ceil(right))):
            overlap = min(right, column + 1) - max(left, column)
            shares[column] += count * max(0.0, overlap) / (right - left)
    return shares


def blocks(values: Sequence[float]) -> str:
    """Return one row of block columns, the tallest full; values above 0 are always visible."""
    peak = max((value for value in values if math.isfinite(value)), default=0.0)
    if peak <= 0:
        return " " * len(values)
    return "".join(
        LEVELS[max(1, round(value / peak * 8))] if math.isfinite(value) and value > 0 else " "
        for value in values
    )


def stacked(values: Sequence[float], rows: int) -> list[str]:
    """Return block columns over several rows, the upper row first; the tallest fills all rows."""
    peak = max((value for value in values if math.isfinite(value)), default=0.0)
    if peak <= 0 or rows < 1:
        return [" " * len(values)] * max(0, rows)
    eighths = [
        max(1, round(value / peak * 8 * rows)) if math.isfinite(value) and value > 0 else 0
        for value in values
    ]
    return [
        "".join(LEVELS[max(0, min(8, height - 8 * below))] for height in eighths)
        for below in reversed(range(rows))
    ]


def gauge(fraction: float, width: int) -> tuple[str, str]:
    """Return a progress bar as its done and its open part, to half a cell."""
    if not math.isfinite(fraction):
        fraction = 0.0
    halves = int(max(0.0, min(1.0, fraction)) * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))

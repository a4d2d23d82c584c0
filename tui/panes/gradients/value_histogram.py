"""Histograms of single gradient values on a signed logarithmic axis, as rows.

Counts are logarithmic too, because the tails, which matter here, hold few values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.metrics.norm_histogram import signed_edges
from batchscope.tui.panes.gradients.norm_histogram import heights
from batchscope.tui.panes.gradients.probe_data import Values
from batchscope.tui.render.axis import Axis, ticks
from batchscope.tui.render.block_bars import resample, stacked
from batchscope.tui.render.styled_text import Row, cell, row
from batchscope.tui.render.units import number, significant

FIGURES = 19
HIDDEN = 0.001


@dataclass(frozen=True, slots=True)
class Valued:
    """The gradient values of one row, with its heading and style."""

    head: Row
    style: str
    values: Values


def value_rows(shown: Sequence[Valued], width: int, height: int) -> list[Row]:
    """Return the histograms: negative values left, positive right, the smallest in the middle."""
    low, high = span([each.values.bins for each in shown])
    left = max(sum(len(text) for text, _ in each.head) for each in shown)
    half = max(1, (width - left - FIGURES - 1) // 2)
    tall, gap = heights(len(shown), height)
    columns = [columns_of(each.values.bins, low, high, half) for each in shown]
    peak = max(max(each) for each in columns)
    lines: list[Row] = []
    for each, counts in zip(shown, columns, strict=True):
        *above, last = (line[:-1] for line in stacked([*counts, peak], tall))
        lines += [row(" " * left, (text, each.style)) for text in above]
        lines.append(row(*each.head, (last, each.style), *_figures(each.values)))
        lines += [()] * gap
    return [*lines, row((" " * left + signed_axis(low, high, half), "dim"))]


def span(bins: Sequence[dict[int, int]]) -> tuple[int, int]:
    """Return the first and last bin of magnitudes; the smallest 0.1 % go to the middle column."""
    counts: dict[int, int] = {}
    for each in bins:
        for index, count in each.items():
            if index:
                counts[abs(index)] = counts.get(abs(index), 0) + count
    if not counts:
        return 126, 127
    hidden = HIDDEN * sum(counts.values())
    passed = 0
    for index in sorted(counts):
        passed += counts[index]
        if passed > hidden:
            return index, max(counts)
    return max(counts), max(counts)


def columns_of(bins: dict[int, int], low: int, high: int, half: int) -> list[float]:
    """Return 2 · `half` + 1 heights, log(1 + count); the middle one is for bins below `low`."""
    positive = {index: count for index, count in bins.items() if index >= low}
    negative = {-index: count for index, count in bins.items() if -index >= low}
    middle = sum(count for index, count in bins.items() if abs(index) < low)
    right, left = (resample(part, low, high + 1, half) for part in (positive, negative))
    return [math.log1p(count) for count in (*reversed(left), middle, *right)]


def least(low: int) -> float:
    """Return the magnitude below which values belong to the middle column."""
    return signed_edges(low)[0]


def signed_axis(low: int, high: int, half: int) -> str:
    """Return the axis labels: round magnitudes below their columns, on both sides of the middle."""
    axis = Axis(signed_edges(low)[0], signed_edges(high)[1], log=True)
    line = [" "] * (2 * half + 1)
    _write(line, half, "╵0")
    for value, name in reversed(ticks(axis, max(2, half // 7))):
        away = int((axis.share(value) or 0.0) * half) + 1
        _write(line, half + away, "╵" + name)
        _write(line, half - away - len(name) - 1, f"-{name}╵")
    return "".join(line)


def _write(line: list[str], at: int, text: str) -> None:
    """Write a text into the line if its place, and a space on both sides, is free."""
    around = line[max(0, at - 1) : at + len(text) + 1]
    if at >= 0 and at + len(text) <= len(line) and not "".join(around).strip():
        line[at : at + len(text)] = text


def _figures(values: Values) -> Row:
    """Return kurtosis (3 for a normal distribution) and deviation as table cells."""
    return row(
        (" κ ", "dim"),
        cell(number(values.kurtosis), 6, "strong", right=True),
        (" σ ", "dim"),
        cell(significant(values.std), 7, right=True),
    )

"""Histograms of gradient norms over one logarithmic axis, as rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from batchscope.engine.metrics.norm_histogram import BINS_PER_DECADE, EDGES, LOWEST, Norms
from batchscope.tui.render.axis import Axis, ticks
from batchscope.tui.render.block_bars import blocks, resample, stacked
from batchscope.tui.render.styled_text import Row, cell, row
from batchscope.tui.render.units import number

FIGURES = 17
TALLEST = 4


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of the norms `part`, labelled `tag`, and of the early norms `before`, if any."""

    head: Row
    style: str
    part: Norms
    tag: str = ""
    before: Norms | None = None

    @property
    def parts(self) -> list[Norms]:
        """The norms that are drawn, early ones first."""
        return [self.part] if self.before is None else [self.before, self.part]

    @property
    def level(self) -> float | None:
        """The mean that normalizing scales: of the late norms, else of the early ones."""
        means = [part.mean for part in reversed(self.parts)]
        return next((mean for mean in means if mean), None)


def norm_rows(shown: Sequence[Histogram], width: int, height: int, normalized: bool) -> list[Row]:
    """Return the histograms over one axis, one or more rows each, depending on the room.

    If `normalized`, the norms of each histogram are multiplied by one factor that moves their mean
    to the mean of all means. This keeps the coefficient of variation, so only spreads differ.
    """
    factors = _factors(shown) if normalized else [1.0] * len(shown)
    low, high = _span(shown, factors)
    left = max(sum(len(text) for text, _ in each.head) for each in shown)
    two = any(each.before is not None for each in shown)
    apart = two and height >= 3 * len(shown) + 1
    tag = max((len(each.tag) for each in shown), default=0) if not apart else len("so far")
    columns = width - left - FIGURES - (tag + 1 if tag else 0)
    if columns < 4:
        columns = max(1, width - left)
    tall, gap = heights(len(shown), height)
    lines: list[Row] = []
    for each, factor in zip(shown, factors, strict=True):
        shift = math.log10(factor) * BINS_PER_DECADE
        bars = [resample(part.bins, low - shift, high - shift, columns) for part in each.parts]
        figures = [_figures(part, factor, normalized) for part in each.parts]
        tagged = row((f" {each.tag}" if each.tag else "", "dim"))
        if apart:
            lines.append(row(*each.head, (blocks(bars[0]), "dim"), *figures[0], (" early", "dim")))
            lines.append(row(" " * left, (blocks(bars[1]), each.style), *figures[1], *tagged))
            lines.append(())
        elif two:
            overlaid = _overlaid(bars[0], bars[1], each.style)
            lines.append((*each.head, *overlaid, *figures[1], *tagged))
        else:
            *above, last = stacked(bars[0], tall)
            lines += [row(" " * left, (text, each.style)) for text in above]
            lines.append(row(*each.head, (last, each.style), *figures[0], *tagged))
            lines += [()] * gap
    return [*lines, row((" " * left + _axis(low, high, columns), "dim"))]


def heights(count: int, height: int) -> tuple[int, int]:
    """Return the rows of each histogram and the empty rows below it, so that all fill `height`."""
    tall = min(TALLEST, max(1, (height - 1) // count))
    return tall, 1 if count * (tall + 1) < height else 0


def _factors(shown: Sequence[Histogram]) -> list[float]:
    levels = [each.level for each in shown]
    known = [level for level in levels if level]
    common = fmean(known) if known else 1.0
    return [common / level if level else 1.0 for level in levels]


def _overlaid(early: list[float], late: list[float], style: str) -> Row:
    """Return the late norms as blocks, with a shade in columns that hold only early norms."""
    runs: list[tuple[str, str]] = []
    for block, before in zip(blocks(late), early, strict=True):
        only_early = block == " " and before > 0
        runs.append(("░", "dim") if only_early else (block, style))
    return tuple(runs)


def _figures(part: Norms, factor: float, normalized: bool) -> Row:
    """Return mean and coefficient of variation; the latter first if the means are normalized."""
    mean, cv = part.mean, part.cv
    broken = f" {part.broken:,} not finite" if part.broken else ""
    means = number(mean * factor if mean is not None else None)
    if normalized:
        figures = row((" cv ", "dim"), cell(number(cv), 4, "strong", right=True), (" μ ", "dim"))
        return (*figures, cell(means, 6, "dim", right=True), (broken, "bad"))
    return row(
        (" μ ", "dim"),
        cell(means, 6, right=True),
        (" cv ", "dim"),
        cell(number(cv), 4, right=True),
        (broken, "bad"),
    )


def _span(shown: Sequence[Histogram], factors: list[float]) -> tuple[float, float]:
    """Return the range of all norms in bins, with a margin at both ends."""
    inside = [
        index + math.log10(factor) * BINS_PER_DECADE
        for each, factor in zip(shown, factors, strict=True)
        for part in each.parts
        for index in part.bins
        if 0 < index < len(EDGES) - 2
    ]
    return (min(inside) - 1, max(inside) + 2) if inside else (1.0, float(len(EDGES) - 2))


def _axis(low: float, high: float, columns: int) -> str:
    """Return the axis labels: round norms below their columns."""
    axis = Axis(_norm_at(low), _norm_at(high), log=True)
    line = [" "] * columns
    free = 0
    for value, name in ticks(axis, max(2, columns // 7)):
        at = int((axis.share(value) or 0.0) * columns)
        text = "╵" + name
        if at >= free and at + len(text) <= columns:
            line[at : at + len(text)] = text
            free = at + len(text) + 1
    return "".join(line)


def _norm_at(index: float) -> float:
    """Return the lower edge of a bin, as a norm."""
    return float(10.0 ** ((index - 1) / BINS_PER_DECADE + LOWEST))

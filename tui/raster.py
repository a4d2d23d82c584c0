"""Series to braille, numbers to block bars: pure, without Textual.

A cell of braille holds two dots by four. A series is drawn as the lines between its
consecutive points on that grid of dots; where series overlap, their dots merge and the cell
takes the style of the last one drawn. Points that share a column of dots are first reduced to
their first, last, lowest and highest, which draws the very same dots at a cost that does not
grow with the points.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tui.axis import Axis
from tui.rows import Row

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE = 0x2800
SOLID, DASHED, DOTTED = (1, 1), (2, 4), (1, 4)
EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of drawing; one that is not finite interrupts the line."""

    points: Sequence[tuple[float, float]]
    style: str = ""
    dashed: bool = False
    dotted: bool = False

    @property
    def pattern(self) -> tuple[int, int]:
        """Columns of dots that are lit, and of how many."""
        return DASHED if self.dashed else DOTTED if self.dotted else SOLID


@dataclass(slots=True)
class _Column:
    """Consecutive points that fall into one column of dots."""

    x: int
    first: int
    last: int
    low: int
    high: int

    def take(self, y: int) -> None:
        self.last = y
        self.low, self.high = min(self.low, y), max(self.high, y)


class Grid:
    """An area of braille cells to draw series on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = max(0, columns), max(0, rows)
        self._masks = [[0] * self.columns for _ in range(self.rows)]
        self._styles = [[""] * self.columns for _ in range(self.rows)]
        self._glyphs: dict[tuple[int, int], str] = {}

    def draw(self, series: Series, x: Axis, y: Axis) -> None:
        """Draw the lines between a series' points."""
        for run in _runs(series.points, x, y, self.columns * 2, self.rows * 4):
            pattern = series.pattern if len(run) > 1 else SOLID
            before: _Column | None = None
            for column in run:
                dots = _vertical(column.x, column.low, column.high)
                self._light(dots, series.style, pattern)
                if before:
                    dots = _line(before.x, before.last, column.x, column.first)
                    self._light(dots, series.style, pattern)
                before = column

    def put(self, column: int, row: int, glyph: str, style: str) -> None:
        """Lay a glyph over a cell, if the area has that cell."""
        if 0 <= column < self.columns and 0 <= row < self.rows:
            self._glyphs[column, row] = glyph
            self._styles[row][column] = style

    def lines(self) -> list[Row]:
        """The area as rows of runs."""
        return [tuple(self._runs_of(row)) for row in range(self.rows)]

    def _light(self, dots: Iterable[tuple[int, int]], style: str, pattern: tuple[int, int]) -> None:
        lit, period = pattern
        width, height = self.columns * 2, self.rows * 4
        for x, y in dots:
            if 0 <= x < width and 0 <= y < height and x % period < lit:
                self._masks[y >> 2][x >> 1] |= DOTS[x & 1][y & 3]
                self._styles[y >> 2][x >> 1] = style

    def _runs_of(self, row: int) -> Iterator[tuple[str, str]]:
        text, style = "", ""
        for column, mask in enumerate(self._masks[row]):
            glyph = self._glyphs.get((column, row)) or (chr(BRAILLE + mask) if mask else " ")
            wanted = style if glyph == " " else self._styles[row][column]
            if wanted != style:
                if text:
                    yield text, style
                text, style = "", wanted
            text += glyph
        if text:
            yield text, style


def _runs(
    points: Sequence[tuple[float, float]], x: Axis, y: Axis, width: int, height: int
) -> Iterator[list[_Column]]:
    """Unbroken stretches of a series, each as the columns of dots that it passes."""
    run: list[_Column] = []
    for px, py in points:
        column, dot = x.place(px, width), y.place(py, height)
        if column is None or dot is None:
            if run:
                yield run
            run = []
            continue
        dot = height - 1 - dot
        if run and run[-1].x == column:
            run[-1].take(dot)
        else:
            run.append(_Column(column, dot, dot, dot, dot))
    if run:
        yield run


def _vertical(x: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    for y in range(low, high + 1):
        yield x, y


def _line(x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int]]:
    """The dots from one point to another: one a column or a row, whichever is more."""
    dx, dy = x1 - x0, y1 - y0
    count = max(abs(dx), abs(dy))
    for step in range(count + 1):
        yield (
            x0 + (2 * step * dx + count) // (2 * count),
            y0 + (2 * step * dy + count) // (2 * count),
        )


def bar(fraction: float, width: int) -> str:
    """A horizontal bar to an eighth of a cell; anything above nothing is seen."""
    if not math.isfinite(fraction) or fraction <= 0 or width <= 0:
        return " " * max(0, width)
    eighths = max(1, round(min(1.0, fraction) * width * 8))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(width)


def gauge(fraction: float, width: int) -> tuple[str, str]:
    """A progress bar as its done and its open part, to half a cell."""
    if not math.isfinite(fraction):
        fraction = 0.0
    halves = int(max(0.0, min(1.0, fraction)) * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))


def resample(bins: dict[int, int], low: float, high: float, columns: int) -> list[float]:
    """Counts of equal bins (bin `i` covers i to i + 1) over columns from `low` to `high`.

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
    """One text row of block columns, the tallest full; anything above nothing is seen."""
    peak = max((value for value in values if math.isfinite(value)), default=0.0)
    if peak <= 0:
        return " " * len(values)
    return "".join(
        LEVELS[max(1, round(value / peak * 8))] if math.isfinite(value) and value > 0 else " "
        for value in values
    )


def stacked(values: Sequence[float], rows: int) -> list[str]:
    """Block columns over several text rows, the upper first; the tallest fills them all."""
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

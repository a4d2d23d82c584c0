"""Draws series in braille characters, without Textual.

A cell has two columns and four rows of dots. A series is drawn as lines between its points on this
grid. Where series overlap, their dots merge and the cell takes the style of the last one drawn.
Points in one column of dots are first reduced to the first, last, lowest and highest: these draw
the same dots, keep every spike, and cost does not grow with the number of points. Bands and
background lines are visible only in cells without a series in front, so that they thicken no line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from batchscope.tui.render.axis import FAR, Axis
from batchscope.tui.render.styled_text import Row

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE = 0x2800
HAIR = "│"
SOLID, DASHED, DOTTED, LONG = (1, 1), (2, 4), (1, 4), (6, 8)
NOWHERE = -(1 << 30)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Lit = NDArray[np.bool_]
Points = Sequence[tuple[float, float]] | Floats
_ORDER = np.argsort(
    [bit for column in DOTS for bit in column]
)  # from the lowest bit to the highest


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of drawing; one that is not finite interrupts the line.

    With a `letter`, the cells of the line hold that in place of dots.
    """

    points: Points
    style: str = ""
    dashed: bool = False
    dotted: bool = False
    long: bool = False
    behind: bool = False
    letter: str = ""

    @property
    def pattern(self) -> tuple[int, int]:
        """The pattern of a dashed line: columns of dots drawn, and columns per period."""
        if self.long:
            return LONG
        return DASHED if self.dashed else DOTTED if self.dotted else SOLID

    def lit(self, x: Axis, y: Axis, width: int, height: int) -> Lit:
        """Return the dots of the lines, with shape (height, width)."""
        return _lines(_table(self.points, 2), x, y, (width, height), self.pattern)


@dataclass(frozen=True, slots=True)
class Band:
    """An area between a lower and an upper edge (points x, low, high), stippled, behind lines.

    An edge that cannot be placed on a logarithmic axis counts as below its low end.
    """

    points: Sequence[tuple[float, float, float]] | Floats
    style: str = ""
    behind: bool = field(default=True, init=False)
    letter: str = field(default="", init=False)

    def lit(self, x: Axis, y: Axis, width: int, height: int) -> Lit:
        """Return the stippled dots between the edges, with shape (height, width)."""
        return _between(_table(self.points, 3), x, y, width, height) & _stipple(width, height)


class Grid:
    """An area of braille cells to draw series on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = max(0, columns), max(0, rows)
        size = (self.rows, self.columns)
        self._masks, self._styles = np.zeros(size, np.uint8), np.zeros(size, np.int64)
        self._shades, self._shaded = np.zeros(size, np.uint8), np.zeros(size, np.int64)
        self._names, self._letters = [""], [""]
        self._hairs: dict[int, str] = {}
        self._glyphs: dict[tuple[int, int], tuple[str, str]] = {}

    def draw(self, drawn: Series | Band, x: Axis, y: Axis) -> None:
        """Draw the lines between a series' points, or a band."""
        self.lay(self.masks_of(drawn, x, y), drawn.style, drawn.behind, drawn.letter)

    def masks_of(self, drawn: Series | Band, x: Axis, y: Axis) -> NDArray[np.uint8]:
        """Return the dots of a series per cell, for `lay`; valid until axes or size change."""
        lit = drawn.lit(x, y, self.columns * 2, self.rows * 4)
        cells = lit.reshape(self.rows, 4, self.columns, 2).transpose(0, 2, 3, 1)
        bits = cells.reshape(self.rows, self.columns, 8)[:, :, _ORDER]
        return np.packbits(bits, axis=2, bitorder="little").reshape(self.rows, self.columns)

    def lay(
        self, masks: NDArray[np.uint8], style: str, behind: bool = False, letter: str = ""
    ) -> None:
        """Merge cells into the area; of the series behind, only the last is visible."""
        some = masks > 0
        if behind:
            self._shades[some] = masks[some]
            self._shaded[some] = len(self._names)
        else:
            self._masks |= masks
            self._styles[some] = len(self._names)
        self._names.append(style)
        self._letters.append(letter)

    def hair(self, column: int, style: str) -> None:
        """Draw a vertical line through a column of cells, behind the series."""
        self._hairs[column] = style

    def put(self, column: int, row: int, glyph: str, style: str) -> None:
        """Put a character into a cell, if the cell is in the area."""
        if 0 <= column < self.columns and 0 <= row < self.rows:
            self._glyphs[column, row] = (glyph, style)

    def lines(self) -> list[Row]:
        """Return the area as rows of styled text."""
        return [self._line(row) for row in range(self.rows)]

    def _line(self, row: int) -> Row:
        seen = zip(*self._front(row), strict=True)
        cells = [
            (self._letters[drawn] or chr(BRAILLE + mask), self._names[drawn]) if mask else (" ", "")
            for mask, drawn in seen
        ]
        for column, style in self._hairs.items():
            if 0 <= column < self.columns and not self._masks[row, column]:
                cells[column] = (HAIR, style)
        for (column, at), glyph in self._glyphs.items():
            if at == row:
                cells[column] = glyph
        return tuple(
            ("".join(text for text, _ in run), style)
            for style, run in groupby(cells, key=lambda cell: "" if cell[0] == " " else cell[1])
        )

    def _front(self, row: int) -> tuple[list[int], list[int]]:
        """Return what is visible in each cell of a row: a series in front, or else one behind."""
        free = self._masks[row] == 0
        masks = np.where(free, self._shades[row], self._masks[row])
        return masks.tolist(), np.where(free, self._shaded[row], self._styles[row]).tolist()


def positions(axis: Axis, values: Floats, dots: int) -> Floats:
    """Return the positions of values in dots from `low`; NaN for values that cannot be drawn."""
    usable = np.isfinite(values)
    if axis.log:
        usable &= values > 0
    low, high = axis.low, axis.high
    if axis.log:
        low, high = math.log10(low), math.log10(high)
        logs = map(math.log10, np.where(usable, values, 1.0).tolist())
        values = np.fromiter(logs, np.float64)  # np.log10 may round otherwise
    span = high / 2 - low / 2
    with np.errstate(over="ignore", invalid="ignore"):
        shares = (values / 2 - low / 2) / span if span > 0 else np.full(len(values), 0.5)
        return np.where(usable, shares * (dots - 1), np.nan)


def places(axis: Axis, values: Floats, dots: int) -> Ints:
    """Return `Axis.place` for many values at once, with NOWHERE instead of None."""
    exact = np.clip(positions(axis, values, dots), -FAR, dots + FAR)
    usable = ~np.isnan(exact)
    return np.where(usable, np.floor(np.where(usable, exact, 0.0) + 0.5).astype(np.int64), NOWHERE)


def _table(points: Sequence[tuple[float, ...]] | Floats, columns: int) -> Floats:
    return np.asarray(points, dtype=np.float64).reshape(-1, columns)


def _lines(
    points: Floats, x: Axis, y: Axis, size: tuple[int, int], pattern: tuple[int, int]
) -> Lit:
    """Return lines between successive points; points in one column become a vertical stroke."""
    width, height = size
    lit = np.zeros((height, width), dtype=bool)
    column, dot = places(x, points[:, 0], width), places(y, points[:, 1], height)
    known = np.flatnonzero((column != NOWHERE) & (dot != NOWHERE))
    if not len(known):
        return lit
    column, dot = column[known], height - 1 - dot[known]
    broken = np.diff(known) > 1
    starts = np.concatenate(([0], np.flatnonzero(broken | (np.diff(column) != 0)) + 1))
    ends = np.concatenate((starts[1:], [len(column)])) - 1
    at = column[starts]
    joined = ~broken[starts[1:] - 1]
    single = ~(np.concatenate(([False], joined)) | np.concatenate((joined, [False])))
    low, high = np.minimum.reduceat(dot, starts), np.maximum.reduceat(dot, starts)
    upright = np.column_stack((at, low, at, high))
    _light(lit, upright[single], SOLID)
    _light(lit, upright[~single], pattern)
    between = np.column_stack((at[:-1], dot[ends[:-1]], at[1:], dot[starts[1:]]))
    _light(lit, between[joined], pattern)
    return lit


def _light(lit: Lit, lines: Ints, pattern: tuple[int, int]) -> None:
    """Set the dots of lines (x0, y0, x1, y1): one per column or row, whichever is more.

    Only steps inside the area are computed, however far away a line ends.
    """
    height, width = lit.shape
    x0, y0, x1, y1 = lines.T
    count = np.maximum(1, np.maximum(abs(x1 - x0), abs(y1 - y0)))
    first, last = np.zeros_like(count), count
    for start, delta, limit in ((x0, x1 - x0, width), (y0, y1 - y0, height)):
        low, high = _inside(start, delta, count, limit)
        first, last = np.maximum(first, low), np.minimum(last, high)
    which, step = _counted(first, last)
    count = count[which]
    x = x0[which] + (2 * step * (x1 - x0)[which] + count) // (2 * count)
    y = y0[which] + (2 * step * (y1 - y0)[which] + count) // (2 * count)
    shown = x % pattern[1] < pattern[0]
    lit[y[shown], x[shown]] = True


def _inside(start: Ints, delta: Ints, count: Ints, limit: int) -> tuple[Ints, Ints]:
    """Return the first and last step for which `start + round(step * delta / count)` is inside."""
    lower, upper = -2 * count * start - count, 2 * count * (limit - start) - count
    twice = 2 * np.maximum(1, abs(delta))
    rising, falling = delta > 0, delta < 0
    inside = (start >= 0) & (start < limit)
    low = np.where(rising, -(-lower // twice), np.where(falling, -upper // twice + 1, 0))
    high = np.where(rising, -(-upper // twice) - 1, np.where(falling, -lower // twice, count))
    return low, np.where(rising | falling | inside, high, -1)


def _between(points: Floats, x: Axis, y: Axis, width: int, height: int) -> Lit:
    """Return the dots between two edges, which are straight between points."""
    top, bottom = np.full(width, height), np.full(width, -1)
    column = places(x, points[:, 0], width)
    low, high = (places(y, points[:, edge], height) for edge in (1, 2))
    low = np.where((low == NOWHERE) & ~np.isnan(points[:, 1]), -FAR, low)
    known = np.flatnonzero((column != NOWHERE) & (low != NOWHERE) & (high != NOWHERE))
    column, low, high = column[known], height - 1 - low[known], height - 1 - high[known]
    alone = (column >= 0) & (column < width)
    here = np.flatnonzero(np.diff(known) == 1)
    across = column[here + 1] - column[here]
    first = np.maximum(0, np.minimum(column[here], column[here + 1]))
    last = np.minimum(width - 1, np.maximum(column[here], column[here + 1]))
    which, at = _counted(first, last)
    here, count = here[which], np.where(across == 0, 1, across)[which]
    step = at - column[here]
    for edge, reached, extreme in ((high, top, np.minimum), (low, bottom, np.maximum)):
        extreme.at(reached, column[alone], edge[alone])
        rise = edge[here + 1] - edge[here]
        extreme.at(reached, at, edge[here] + (2 * step * rise + count) // (2 * count))
    rows = np.arange(height)[:, None]
    return np.asarray((rows >= top) & (rows <= bottom))


def _counted(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return all integers from each `first` to its `last`, each with the index of its pair."""
    many = np.maximum(0, last - first + 1)
    which = np.repeat(np.arange(len(many)), many)
    return which, np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + first[which]


def _stipple(width: int, height: int) -> Lit:
    """Return a pattern with two diagonal dots per cell."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return np.asarray((rows + 2 * columns) % 4 == 1)

"""Draws arrows in a plane in braille, with one scale for both axes, so that angles are correct.

A cell has a height of about twice its width and 2 by 4 dots, so dots are about square.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchscope.tui.render.axis import Axis
from batchscope.tui.render.styled_text import Row

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Grid

HEADS = "→↗↑↖←↙↓↘"
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from one point to another, with a name at its head."""

    start: Point
    end: Point
    name: str
    style: str

    @property
    def head(self) -> str:
        """The arrow character with the nearest direction."""
        angle = math.atan2(self.end[1] - self.start[1], self.end[0] - self.start[0])
        return HEADS[round(angle / (math.pi / 4)) % 8]


def plane(arrows: Sequence[Arrow], width: int, height: int) -> list[Row]:
    """Draw arrows into an area of cells, centred and as large as it allows."""
    from batchscope.tui.render.braille import (
        Grid,
        Series,  # loads numpy
    )

    if width < 4 or height < 2:
        return []
    room = min(width - 4, max((len(arrow.name) for arrow in arrows), default=0) + 2)
    x, y = axes([p for arrow in arrows for p in (arrow.start, arrow.end)], width - room, height)
    across = (x.high - x.low) * (width * 2 - 1) / max(1, (width - room) * 2 - 1)
    x = Axis(x.low, x.low + across)
    grid = Grid(width, height)
    taken: set[tuple[int, int]] = set()
    for arrow in arrows:
        grid.draw(Series([arrow.start, arrow.end], arrow.style), x, y)
    for arrow in arrows:
        column, line = _cell(arrow.end, x, y, width, height)
        grid.put(column, line, arrow.head, arrow.style)
        taken.add((column, line))
    for arrow in arrows:
        _name(grid, arrow, _cell(arrow.end, x, y, width, height), taken)
    grid.put(*_cell((0.0, 0.0), x, y, width, height), "○", "dim")
    return grid.lines()


def axes(points: Sequence[Point], width: int, height: int) -> tuple[Axis, Axis]:
    """Return x and y axes with the same dots per unit that contain all points and the origin."""
    across, up = width * 2 - 1, height * 4 - 1
    xs, ys = ([*values, 0.0] for values in zip(*points, strict=True))
    spans = (max(xs) - min(xs), max(ys) - min(ys))
    unit = max(spans[0] / across, spans[1] / up) or 1.0 / max(across, up)
    ends = []
    for values, dots in ((xs, across), (ys, up)):
        middle = (min(values) + max(values)) / 2
        ends.append(Axis(middle - unit * dots / 2, middle + unit * dots / 2))
    return ends[0], ends[1]


def _cell(point: Point, x: Axis, y: Axis, width: int, height: int) -> tuple[int, int]:
    column, dot = x.place(point[0], width * 2) or 0, y.place(point[1], height * 4) or 0
    return min(width - 1, max(0, column // 2)), min(height - 1, max(0, height - 1 - dot // 4))


def _name(grid: "Grid", arrow: Arrow, at: tuple[int, int], taken: set[tuple[int, int]]) -> None:
    """Write the name next to the head, at the first free place."""
    column, line = at
    size = len(arrow.name)
    places = [(column + 2, line), (column + 2, line - 1), (column + 2, line + 1)]
    places += [(column - size // 2, line - 1), (column - size // 2, line + 1)]
    for start, where in places:
        cells = {(start + offset, where) for offset in range(-1, size + 1)}
        inside = start >= 0 and start + size <= grid.columns and 0 <= where < grid.rows
        if inside and not cells & taken:
            taken |= cells
            for offset, character in enumerate(arrow.name):
                grid.put(start + offset, where, character, arrow.style)
            return

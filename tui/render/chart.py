"""Draws a plot with axes as rows: labelled ticks on the left and below."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchscope.tui.render.axis import Axis, ticks
from batchscope.tui.render.styled_text import Row

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Grid

Marker = tuple[float, float, str, str]
BELOW = 2  # the x axis and its labels


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal dotted line at a value that curves are compared with, with its name."""

    value: float
    name: str


def chart(
    draw: "Callable[[Grid], None]",
    x: Axis,
    y: Axis,
    size: tuple[int, int],
    markers: Sequence[Marker] = (),
    level: Level | None = None,
    hair: float | None = None,
) -> list[Row]:
    """Return what `draw` draws, with axes, in an area of a size (width, height).

    `hair` is the x of a vertical line, if any. If the area is too small, it stays empty.
    """
    from batchscope.tui.render.braille import Grid  # loads numpy

    width, height = size
    rows, columns = height - BELOW, plot_columns(y, size)
    if columns < 4 or rows < 1:
        return []
    left = width - columns
    labels = dict(_y_labels(y, rows))
    grid = Grid(columns, rows)
    if level and y.low <= level.value <= y.high:
        _across(grid, level, x, y)
    draw(grid)
    if hair is not None and (column := _cell(x, hair, columns, 2)) is not None:
        grid.hair(column, "frame.on")
    for at, value, glyph, style in markers:
        column, up = _cell(x, at, columns, 2), _cell(y, value, rows, 4)
        if column is not None and up is not None:
            grid.put(column, rows - 1 - up, glyph, style)
    lines: list[Row] = []
    for index, line in enumerate(grid.lines()):
        label = labels.get(index, "")
        lines.append(((f"{label:>{left - 2}} {'┤' if label else '│'}", "dim"), *line))
    return [*lines, *_x_axis(x, columns, left)]


def plot_columns(y: Axis, size: tuple[int, int]) -> int:
    """Return how many columns an area of a size (width, height) leaves for the plot."""
    labels = dict(_y_labels(y, size[1] - BELOW))
    return size[0] - max(map(len, labels.values()), default=0) - 2


def _cell(axis: Axis, value: float, cells: int, dots: int) -> int | None:
    """Return the cell that contains a value, counted from the axis' low end."""
    dot = axis.place(value, cells * dots)
    return dot // dots if dot is not None and 0 <= dot < cells * dots else None


def _across(grid: "Grid", level: Level, x: Axis, y: Axis) -> None:
    """Draw the line of a level, with its name at the left."""
    from batchscope.tui.render.braille import Series

    grid.draw(Series([(x.low, level.value), (x.high, level.value)], "dim", dotted=True), x, y)
    at = (grid.rows * 4 - 1 - (y.place(level.value, grid.rows * 4) or 0)) // 4
    beside = at - 1 if at > 0 else at + 1
    if len(level.name) + 2 <= grid.columns:
        for column, character in enumerate(level.name, start=1):
            grid.put(column, beside, character, "dim")


def _y_labels(y: Axis, rows: int) -> list[tuple[int, str]]:
    placed: dict[int, str] = {}
    for value, label in ticks(y, max(2, min(6, rows // 3))):
        dot = y.place(value, rows * 4)
        if dot is not None and 0 <= dot < rows * 4:
            placed.setdefault((rows * 4 - 1 - dot) // 4, label)
    return list(placed.items())


def _x_axis(x: Axis, columns: int, left: int) -> list[Row]:
    axis = ["─"] * columns
    below = [" "] * (columns + left)
    free = 0
    for value, label in ticks(x, max(2, columns // 9)):
        dot = x.place(value, columns * 2)
        if dot is None or not 0 <= dot < columns * 2:
            continue
        axis[dot // 2] = "┬"
        start = max(free, min(columns + left - len(label), left + dot // 2 - len(label) // 2))
        if start + len(label) <= columns + left:
            below[start : start + len(label)] = label
            free = start + len(label) + 1
    return [
        ((f"{'└':>{left}}{''.join(axis)}", "dim"),),
        (("".join(below), "dim"),),
    ]

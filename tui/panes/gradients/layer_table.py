"""Gradient norms by layer as a table: a row for each layer, a column for each configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from batchscope.engine.analysis.layer_shares import LayerMeans
from batchscope.engine.metrics.layer_labels import short_names
from batchscope.tui.render.block_bars import bar
from batchscope.tui.render.styled_text import Row, cell, row
from batchscope.tui.render.units import UNKNOWN, number

LayerFigure = Literal["share", "mean", "cv"]
LAYER_FIGURES: tuple[LayerFigure, ...] = ("share", "mean", "cv")
FIGURE_NAMES = {
    "share": "share of the squared norm",
    "mean": "mean norm",
    "cv": "norm cv",
}
NAME_LEAST, COLUMN_LEAST, COLUMN_GOOD, COLUMN_MOST = 12, 9, 12, 18
PERCENT = 5
HEAD = "layer"


@dataclass(frozen=True, slots=True)
class Column:
    """A configuration: its marker, its style, its label, and the figures of each layer."""

    glyph: str
    style: str
    label: str
    layers: Sequence[LayerMeans]


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns for which there is room, evenly spread from the first to the last."""
    room = max(1, (width - NAME_LEAST) // COLUMN_LEAST)
    if len(columns) <= room:
        return list(columns)
    if room == 1:
        return [columns[-1]]
    apart = (len(columns) - 1) / (room - 1)
    return [columns[round(at * apart)] for at in range(room)]


def layer_rows(columns: Sequence[Column], figure: LayerFigure, width: int) -> list[Row]:
    """Return a row of heads and a row for each layer; bars are lengths of the largest share."""
    shown = fitting(columns, width)
    names = list(dict.fromkeys(each.layer for column in shown for each in column.layers))
    left = max(NAME_LEAST, width - COLUMN_GOOD * len(shown))
    left = min(left, max(len(HEAD), *map(len, names), 0) + 1)
    labels = short_names(names, left - 1)
    room = min(COLUMN_MOST, (width - left) // max(1, len(shown)))
    shares = [each.share or 0.0 for column in shown for each in column.layers]
    largest = max(shares, default=0.0)
    lines = [row(cell(HEAD, left, "dim"), *_heads(shown, room))]
    for name in names:
        line = [cell(labels[name], left)]
        for column in shown:
            found = next((each for each in column.layers if each.layer == name), None)
            line += _cells(found, figure, column.style, room, largest)
        lines.append(tuple(line))
    return lines


def _heads(columns: Sequence[Column], room: int) -> Row:
    heads: list[tuple[str, str]] = []
    for column in columns:
        heads += [(f"{column.glyph} ", column.style), cell(column.label, room - 2)]
    return tuple(heads)


def _cells(
    found: LayerMeans | None, figure: LayerFigure, style: str, room: int, largest: float
) -> Row:
    value = getattr(found, figure) if found else None
    if value is None:
        return (cell(UNKNOWN, room, "dim"),)
    if figure != "share":
        return (cell(number(value), room),)
    length = room - PERCENT - 1
    drawn = bar(value / largest if largest else 0.0, length) if length > 0 else ""
    return row((drawn, style), cell(f"{100 * value:.0f} %", PERCENT, right=True), " ")

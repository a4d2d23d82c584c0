"""Draws bands, lines and marks of curves over their axes, as rows of text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.metrics.log_fit import LogFit
from batchscope.tui.panes.curves.axes import sizes_within
from batchscope.tui.panes.curves.options import Lens
from batchscope.tui.panes.curves.series import PlottedCurve, banded, raw_behind
from batchscope.tui.render.ascii import plain
from batchscope.tui.render.axis import Axis
from batchscope.tui.render.braille import Band, Grid, Series, places
from batchscope.tui.render.chart import Level, Marker, chart
from batchscope.tui.render.styled_text import Row
from batchscope.tui.viewmodel.marks import Mark
from batchscope.tui.viewmodel.view import View

FINE = 4096
MARKERS = 2  # on each curve
MARKERS_ALONE = 6  # where there are no colours to distinguish the curves


@dataclass(frozen=True, slots=True)
class PlotLayer:
    """Something to draw: its key, a stamp that changes when it does, and what makes it."""

    key: object
    stamp: object
    make: Callable[[], Series | Band]


def picture(
    view: View,
    curves: Sequence[PlottedCurve],
    fits: dict[str, LogFit],
    lens: Lens,
    axes: tuple[Axis, Axis],
    size: tuple[int, int],
    level: Level | None,
) -> list[Row]:
    """Return all curves over their axes, in an area of `size` (width, height).

    Layers that have not changed since the last picture are reused.
    """
    x, y = axes
    sizes = sizes_within(view, lens, y)

    def draw(grid: Grid) -> None:
        layers = _layers(curves, fits, lens, view.look.ascii)
        for layer in (*(_across(*size, x) for size in sizes), *layers):
            stamp = (layer.stamp, x, y, grid.columns, grid.rows)
            masks, made = view.once(("drawn", layer.key), stamp, partial(_drawn, grid, layer, x, y))
            grid.lay(masks, made.style, made.behind, made.letter)

    own = [one for one in curves if not one.train]
    hair = lens.cursor
    marks = _staggered(own, x, MARKERS if view.look.depth != "none" else MARKERS_ALONE)
    marks += [(x.low, float(size), mark.glyph, mark.style) for size, mark in sizes]
    if hair is not None:
        marks += _read_off(own, hair)
    return chart(draw, x, y, size, marks, level, hair)


def _across(size: int, mark: Mark, x: Axis) -> PlotLayer:
    """Return a batch size as a dotted line, for comparison with the noise scale."""
    line = Series([(x.low, size), (x.high, size)], mark.faint, dotted=True, behind=True)
    return PlotLayer(("size", size), mark, lambda: line)


def _drawn(
    grid: Grid, layer: PlotLayer, x: Axis, y: Axis
) -> tuple[NDArray[np.uint8], Series | Band]:
    made = layer.make()
    return grid.masks_of(made, x, y), made


def _layers(
    curves: Sequence[PlottedCurve], fits: dict[str, LogFit], lens: Lens, letters: bool
) -> list[PlotLayer]:
    """Return the layers from back to front; in ASCII, lines are drawn with letters."""
    layers = []
    if lens.spread:
        layers += [
            PlotLayer(("band", *one.key), one.stamp, partial(_band, one)) for one in banded(curves)
        ]
    if lens.strength and raw_behind(curves):
        layers += [
            PlotLayer(("raw", *one.key), one.stamp, partial(_measured, one))
            for one in curves
            if not one.train
        ]
    layers += [
        PlotLayer(("fit", *one.key), (one.stamp, fits[one.name]), partial(_fit, one, fits))
        for one in curves
        if one.own and one.name in fits
    ]
    lines = (
        PlotLayer(("line", *one.key), one.stamp, partial(_line, one, letters)) for one in curves
    )
    return [*layers, *lines]


def _band(one: PlottedCurve) -> Band:
    """Return the band of one standard deviation to each side, where there are two or more seeds."""
    curve = one.shown
    low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
    return Band(np.column_stack((curve.x, low, high)), one.mark.faint)


def _measured(one: PlottedCurve) -> Series:
    """Return the measured curve, drawn behind the smoothed one."""
    return Series(np.column_stack((one.raw.x, one.raw.mean)), one.mark.faint, behind=True)


def _line(one: PlottedCurve, letters: bool) -> Series:
    points = np.column_stack((one.shown.x, one.shown.mean))
    style = one.mark.faint if one.train else one.mark.style
    letter = "." if one.train else plain(one.mark.glyph).lower()
    return Series(
        points, style, dashed=one.train, long=not one.own, letter=letter if letters else ""
    )


def _fit(one: PlottedCurve, fits: dict[str, LogFit]) -> Series:
    """Return the fitted line from the curve's first point to its last."""
    fit, ends = fits[one.name], (float(one.raw.x[0]), float(one.raw.x[-1]))
    line = [(x, fit.intercept + fit.slope * math.log(x)) for x in ends]
    return Series(line, one.mark.faint, dashed=True)


def _staggered(curves: Sequence[PlottedCurve], x: Axis, many: int) -> list[Marker]:
    """Return the markers on each curve, placed so that those of two curves do not coincide."""
    placed: list[Marker] = []
    for index, one in enumerate(curves):
        at = places(x, one.shown.x, FINE)
        first = max(0.0, (x.share(float(one.shown.x[0])) or 0.0) if x.log or x.low > 0 else 0.0)
        last = min(1.0, x.share(one.end) or 0.0)
        for place in range(many):
            wanted = first + (last - first) * (place + (index + 0.5) / len(curves)) / many
            nearest = int(np.abs(at - wanted * (FINE - 1)).argmin())
            placed.append(_marker(one, nearest))
    return placed


def _read_off(curves: Sequence[PlottedCurve], x: float) -> list[Marker]:
    """Return the markers at the cursor, for the curves that reach it."""
    return [
        (x, float(one.shown.mean[at]), one.mark.glyph, one.mark.style)
        for one in curves
        if (at := one.shown.row_at(x)) is not None and x <= one.shown.x.max()
    ]


def _marker(one: PlottedCurve, at: int) -> Marker:
    return float(one.shown.x[at]), float(one.shown.mean[at]), one.mark.glyph, one.mark.style

"""Loss or accuracy on the straight line between the final weights of two configurations."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.analysis.interpolation_lines import OverSeeds
from batchscope.engine.spec import Interpolation
from batchscope.tui.panes.base import Line
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.axis import Axis, axis_over
from batchscope.tui.render.chart import Marker, chart
from batchscope.tui.render.styled_text import Row, row, wrap
from batchscope.tui.viewmodel.view import View

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Grid

CAPTION = "(1 − α) · start + α · end"
CHART_ROWS = 5
ENDS = (0.0, 1.0)


def asked_for(view: View) -> Interpolation | None:
    """Return the `[interpolation]` of the sweep, if it has one."""
    return view.state.opened.interpolation if view.state.opened else None


def between_rows(view: View, figure: str, width: int, height: int) -> list[Row]:
    """Return `loss` or `accuracy` over α on test and training images, and the two ends."""
    asked = asked_for(view)
    test, train = (
        interpolation_lines.curve(view.state, f"{part}_{figure}") for part in ("test", "train")
    )
    if asked is None or not (test or train):
        return awaited(view, _awaited(view), width, height)
    said = _legend(view, asked, max([1, *(point.seeds for point in test)]), width)
    room = width, max(CHART_ROWS, height - len(said))
    drawn = _picture(view, asked, test, train, room, steep=figure == "loss")
    return [*drawn, *said]


def table(view: View, figure: str) -> Iterator[Line]:
    """Yield `loss` or `accuracy` at each α, on test and then on training images."""
    yield "alpha", "images", figure, "standard deviation", "seeds"
    for part in ("test", "train"):
        for point in interpolation_lines.curve(view.state, f"{part}_{figure}"):
            yield point.alpha, part, point.mean, point.deviation, point.seeds


def _awaited(view: View) -> str:
    reasons = [line.reason for line in view.state.lines.values() if line.reason]
    if reasons:
        return f"no line could be measured: {reasons[0]}"
    state, hindered = view.state, list(interpolation_lines.hindered(view.state))
    if (
        hindered
        and not interpolation_lines.left(state)
        and len(hindered) == len(list(interpolation_lines.pairs(state)))
    ):
        return hindered[0]
    return "no seed has finished at both ends of the line yet"


def _legend(view: View, asked: Interpolation, seeds: int, width: int) -> list[Row]:
    named = [row()]
    for at, name in zip(("0", "1"), (asked.start, asked.end), strict=True):
        mark = view.marks[name]
        named.append(row((mark.glyph, mark.style), f" {mark.label} at α = {at}  "))
    over = f"mean of {seeds} seeds ± 1 sd" if seeds > 1 else "one seed"
    text = f"test ──, train ╌╌; {over}"
    if any(line.recalibrated for line in view.state.lines.values()):
        text += "; batch norm statistics recomputed at each α"
    return [tuple(run for part in named for run in part), *wrap(text, width, "dim")]


def _picture(
    view: View,
    asked: Interpolation,
    test: Sequence[OverSeeds],
    train: Sequence[OverSeeds],
    size: tuple[int, int],
    steep: bool,
) -> list[Row]:
    values = [point.mean for point in (*test, *train)]
    log = steep and all(value > 0 for value in values) and max(values) > 10 * min(values)
    x, y = Axis(*asked.alpha), axis_over(values, log=log)
    letters = view.look.ascii

    def draw(grid: "Grid") -> None:
        from batchscope.tui.render.braille import Band, Series  # loads numpy

        for curve, style in ((train, "dim"), (test, "accent")):
            spread = [_edges(point) for point in curve if point.deviation is not None]
            if spread:
                grid.draw(Band(spread, style), x, y)
        for curve, style, dashed in ((train, "dim", True), (test, "accent", False)):
            letter = ("." if dashed else "*") if letters else ""
            points = [(point.alpha, point.mean) for point in curve]
            grid.draw(Series(points, style, dashed=dashed, letter=letter), x, y)

    return chart(draw, x, y, size, _markers(view, asked, test))


def _edges(point: OverSeeds) -> tuple[float, float, float]:
    spread = point.deviation or 0.0
    return point.alpha, point.mean - spread, point.mean + spread


def _markers(view: View, asked: Interpolation, test: Sequence[OverSeeds]) -> list[Marker]:
    """Return a marker for each solution on the curve of the test images, if the line passes it."""
    markers: list[Marker] = []
    for at, name in zip(ENDS, (asked.start, asked.end), strict=True):
        mark = view.marks[name]
        markers += [
            (point.alpha, point.mean, mark.glyph, mark.style)
            for point in test
            if math.isclose(point.alpha, at, abs_tol=1e-9)
        ]
    return markers

"""Copies the content of a pane as a plain table with all digits, for spreadsheets and notes."""

from collections.abc import Callable, Iterable
from typing import cast

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.analysis.figures import epoch_times
from batchscope.engine.errors import printable
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.tui.panes.bars.pane import EPOCH_TIME, LINES, BarsPane
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.curves.legend import reading_of
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.panes.gradients.pane import GradientsPane


def table_of(pane: Pane) -> str:
    """Return the table of a pane with tabs between columns; empty if it shows nothing yet."""
    if not pane.view.state.trials:
        return ""
    make = _TABLES.get(pane.NAME)
    table = make(pane) if make else pane.table()
    return "\n".join("\t".join(map(_cell, line)) for line in table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else printable(value)


def _curves(pane: Pane) -> Iterable[Line]:
    curves = cast(CurvesPane, pane)
    quantity = curves.lens.quantity
    figure = f"test {quantity.name}" if quantity.train else quantity.name
    yield "sweep", "configuration", figure, "standard deviation", "seeds", "of"
    for source in curves.sources():
        for name in source.order:
            reading = reading_of(pane.view, source, name, curves.lens)
            if reading:
                seeds = reading.n or f"epoch {reading.epoch}"
                label = source.marks[name].label
                yield source.title, label, reading.mean, reading.spread, seeds, reading.seeds


def _bars(pane: Pane) -> Iterable[Line]:
    view, figure = pane.view, cast(BarsPane, pane).figure
    if figure is EPOCH_TIME:
        yield "configuration", "epoch seconds", "samples per second", "speedup", "stacked"
        for time in epoch_times(view.state):
            label = view.marks[time.configuration].label
            yield label, time.seconds, time.samples_per_second, time.ratio, time.stacked
        return
    if figure in LINES:
        yield from _line(pane, LINES[figure])
        return
    yield "configuration", figure.name, "low (95 %)", "high (95 %)", "seeds", "of smallest"
    for name, mean in cast(BarsPane, pane).means().items():
        yield view.marks[name].label, mean.mean, mean.low, mean.high, mean.n, mean.normalized


def _line(pane: Pane, figure: str) -> Iterable[Line]:
    yield "alpha", "images", figure, "standard deviation", "seeds"
    for part in ("test", "train"):
        for point in interpolation_lines.curve(pane.view.state, f"{part}_{figure}"):
            yield point.alpha, part, point.mean, point.deviation, point.seeds


def _gradients(pane: Pane) -> Iterable[Line]:
    gradients = cast(GradientsPane, pane)
    if gradients.source == "layers":
        yield "layer", "weights", "configuration", "mean norm", "norm cv", "share", "seeds"
        for column in gradients.layer_columns():
            for each in column.layers:
                figures = each.mean, each.cv, each.share, each.seeds
                yield each.layer, each.parameters, column.label, *figures
        return
    if gradients.source != "steps":
        yield from Pane.table(pane)
        return
    yield "configuration", "early mean", "early cv", "late mean", "late cv", "late steps"
    for name in pane.view.order:
        early, late, _ = gradients.parts(name)
        if early.count or late.count:
            label = pane.view.marks[name].label
            yield label, *_mean(early), *_mean(late), late.count


def _mean(norms: Norms) -> tuple[float | None, float | None]:
    return norms.mean, norms.cv


_TABLES: dict[str, Callable[[Pane], Iterable[Line]]] = {
    "curves": _curves,
    "bars": _bars,
    "gradients": _gradients,
}
"""The tables that are put together here; the other panes have a `table` of their own."""

"""What a pane shows, as a plain table: for spreadsheets and notes, with all digits."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import cast

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.analysis.figures import chosen_shape, epoch_times
from batchscope.engine.errors import printable
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.tui.config.commands import PaneName
from batchscope.tui.panes.bars.pane import EPOCH_TIME, LINES, BarsPane
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.curves.legend import reading_of
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.panes.gradients.pane import GradientsPane
from batchscope.tui.render.styled_text import text_of
from batchscope.tui.viewmodel.status_signs import choice_text

WIDTH = 120
"""Columns for what is copied as it is drawn."""
Line = Sequence[object]


def table_of(pane: Pane) -> str:
    """The table of a pane, tabs between the columns; empty where it shows nothing yet."""
    table = [*_TABLES[pane.NAME](pane)] if pane.view.state.trials else []
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


def _memory(pane: Pane) -> Iterable[Line]:
    view = pane.view
    yield (
        "configuration", "batch size", "micro-batch size", "accumulation steps",
        "peak bytes", "samples per second (steps)", "reason",
    )  # fmt: skip
    for name in view.order:
        trials = [each for each in view.state.replicates(name) if each.id in view.state.plans]
        if trials:
            plan, shape = view.state.plans[trials[0].id], chosen_shape(view.state, trials[0])
            peaks = [r.peak_memory_bytes for t in trials for r in t.records if r.peak_memory_bytes]
            yield (
                view.marks[name].label,
                plan.largest,
                plan.micro_batch_size,
                plan.accumulation_steps,
                max(peaks, default=shape.peak_bytes if shape else None),
                shape.samples_per_second if shape else None,
                plan.reason,
            )


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
        yield from _as_drawn(pane)
        return
    yield "configuration", "early mean", "early cv", "late mean", "late cv", "late steps"
    for name in pane.view.order:
        early, late, _ = gradients.parts(name)
        if early.count or late.count:
            label = pane.view.marks[name].label
            yield label, *_mean(early), *_mean(late), late.count


def _mean(norms: Norms) -> tuple[float | None, float | None]:
    return norms.mean, norms.cv


def _trials(pane: Pane) -> Iterable[Line]:
    view = pane.view
    yield (
        "trial", "configuration", "seed", "status", "epochs", "steps",
        "train accuracy", "test accuracy", "reason",
    )  # fmt: skip
    for name in view.order:
        for trial in view.state.replicates(name):
            last = trial.last
            yield (
                trial.id,
                view.marks[name].label,
                trial.seed,
                trial.status,
                last.epoch if last else 0,
                last.steps if last else 0,
                last.train_accuracy if last else None,
                last.test_accuracy if last else None,
                trial.reason,
            )


def _findings(pane: Pane) -> Iterable[Line]:
    findings = pane.view.findings
    yield "claim", "verdict", "measure", "effect", "low (95 %)", "high (95 %)", "seeds", "reason"
    for each in findings.claims:
        interval = each.effect, each.low, each.high
        yield each.statement, each.verdict, each.measure, *interval, each.n, each.reason
    if findings.recommendation:
        yield (findings.recommendation,)
    for choice in findings.choices:
        yield (choice_text(choice),)


def _log(pane: Pane) -> Iterable[Line]:
    yield "time", "level", "message"
    for line in pane.view.state.log:
        moment = datetime.fromtimestamp(line.at).astimezone()
        yield moment.isoformat(timespec="seconds"), line.level, line.text


def _as_drawn(pane: Pane) -> Iterable[Line]:
    """The rows themselves, where the picture is the figure."""
    yield (pane.heading,)
    for line in pane.body(WIDTH, 1000):
        yield (text_of(line).rstrip(),)


_TABLES: dict[PaneName, Callable[[Pane], Iterable[Line]]] = {
    "curves": _curves,
    "bars": _bars,
    "memory": _memory,
    "gradients": _gradients,
    "trials": _trials,
    "findings": _findings,
    "log": _log,
}

"""Accuracy against epochs: test solid, train dashed, the mean over the seeds."""

import math
from collections.abc import Sequence

from engine.events import EpochRecord
from engine.figures import Measure, Point, curve, last_values, mean_and_deviation
from tui.axis import Axis, axis_over
from tui.chart import chart
from tui.marks import Mark
from tui.panes.pane import Pane
from tui.panes.waiting import awaited
from tui.raster import Series
from tui.rows import Row, fit, row
from tui.units import spread_of

SCALES = ("linear", "epochs log", "error (1 − accuracy) log")
LOG_EPOCHS, LOG_ERROR = 1, 2
LEGEND_FROM = 50
LABEL_MOST = 14
BEGINNING = 0.1


class AccuracyPane(Pane):
    """The answer as it firms up."""

    NUMBER, TITLE, TAB = 1, "accuracy", "accuracy"
    TOPICS = ("epochs", "trials", "data")

    scale = 0
    train = True

    def options(self) -> object:
        """The scale, and whether train curves are shown."""
        return self.scale, self.train

    def caption(self, width: int) -> Row:
        """What is drawn how."""
        parts = [
            "test ━",
            *(["train ╌"] if self.train else []),
            f"over epochs, {SCALES[self.scale]}",
        ]
        return row(("  ".join(part for part in parts if part), "dim"))

    def next_scale(self) -> None:
        """Linear axes, then epochs by their logarithm, then mistakes by theirs."""
        self.scale = (self.scale + 1) % len(SCALES)

    @property
    def error(self) -> bool:
        """Whether the share of mistakes is drawn instead: on a log axis it tells more."""
        return self.scale == LOG_ERROR

    def body(self, width: int, height: int) -> Sequence[Row]:
        """The curves, and beside them the legend with the figures."""
        curves = self._curves()
        if not curves:
            return awaited(self.view, "no epoch has ended yet", width, height)
        legend = self._legend(width) if width >= LEGEND_FROM else []
        beside = max((sum(len(text) for text, _ in line) for line in legend), default=-2) + 2
        plotted = self._plot(curves, width - beside, height)
        return [
            (*fit(line, width - beside), ("  ", ""), *(legend[at] if at < len(legend) else ()))
            if legend
            else line
            for at, line in enumerate(plotted)
        ]

    def _plot(
        self, curves: list[tuple[Mark, bool, list[Point]]], width: int, height: int
    ) -> list[Row]:
        series = [
            Series(
                [(point.x, point.mean) for point in points],
                mark.faint if train else mark.style,
                train,
            )
            for mark, train, points in curves
        ]
        glyphs = [(mark.glyph, mark.style, points) for mark, train, points in curves if not train]
        x = self._epochs(max(point.x for _, _, points in curves for point in points))
        return chart(
            series,
            x,
            self._accuracies([points for _, _, points in curves], x.high),
            (width, height),
            _staggered(glyphs, x),
        )

    def _epochs(self, last: float) -> Axis:
        """All the planned epochs, so that a growing curve does not move what is drawn."""
        end = max(last, *(self._planned(name) for name in self.view.order))
        if self.scale == LOG_EPOCHS:
            return axis_over([1.0, max(end, 2.0)], log=True)
        return Axis(0.0, max(end, 1.0))

    def _accuracies(self, curves: list[list[Point]], epochs: float) -> Axis:
        """Without the steep beginning, which would press all that follows together.

        A curve that begins below comes in through the lower edge.
        """
        from_epoch = 0.0 if self.error else BEGINNING * epochs
        late = [point.mean for points in curves for point in points if point.x >= from_epoch]
        every = [point.mean for points in curves for point in points]
        return axis_over(late or every, log=self.error)

    def _planned(self, name: str) -> float:
        trials = self.view.state.replicates(name)
        for trial in trials:
            if trial.started and trial.started.total_steps:
                return math.ceil(trial.started.total_steps / max(1, trial.started.steps_per_epoch))
        return float(trials[0].settings.train.epochs or 0) if trials else 0.0

    def _curves(self) -> list[tuple[Mark, bool, list[Point]]]:
        """Every curve with its mark; train curves first, so that test curves lie on top."""
        found = []
        for train in (True, False):
            if train and not self.train:
                continue
            for name in self.view.order:
                points = self._points(name, train)
                if points:
                    found.append((self.view.marks[name], train, points))
        return found

    def _points(self, name: str, train: bool) -> list[Point]:
        key = ("curve", name, train, self.error)
        measure = _measure(train, self.error)
        return self.view.once(
            key, self.view.reached(name), lambda: curve(self.view.state, name, measure)
        )

    def _legend(self, width: int) -> list[Row]:
        """Each configuration with its figure: at the end over the seeds, or so far."""
        most = self.view.label_width(LABEL_MOST if width >= 70 else 6)
        head = "final test error" if self.error else "final test"
        lines = [row((f"  {head}".ljust(most + 24)[: most + 24], "dim"))]
        for name in self.view.order:
            mark = self.view.marks[name]
            lines.append(row(*mark.head(most), *self._figure(name)))
        return lines

    def _figure(self, name: str) -> Row:
        seeds = len(self.view.state.replicates(name))
        finals = last_values(self.view.state, name, _measure(False, self.error))
        if finals:
            mean, deviation = mean_and_deviation(finals)
            spread = spread_of(deviation) if deviation is not None else ""
            some = f"{len(finals)}/{seeds}" if len(finals) < seeds else f"n={seeds}"
            return row((f"{mean:.4f}", "strong"), f" {spread:<6} ", (f"{some:<5}", "dim"))
        points = self._points(name, train=False)
        if points:
            return row((f"{points[-1].mean:.4f} epoch {points[-1].x:<6.0f}", "dim"))
        return row(("–".ljust(19), "dim"))


def _measure(train: bool, error: bool) -> Measure:
    def measured(record: EpochRecord) -> float | None:
        accuracy = record.train_accuracy if train else record.test_accuracy
        return 1.0 - accuracy if error else accuracy

    return measured


def _staggered(
    curves: list[tuple[str, str, list[Point]]], x: Axis
) -> list[tuple[float, float, str, str]]:
    """Two places on each curve for its marker, no two curves at the same epoch if avoidable."""
    placed = []
    for index, (glyph, style, points) in enumerate(curves):
        for half in (0, 1):
            wanted = (half + (index + 0.5) / len(curves)) / 2
            point = min(points, key=lambda p, at=wanted: abs((x.share(p.x) or 0.0) - at))  # type: ignore[misc]
            placed.append((point.x, point.mean, glyph, style))
    return placed

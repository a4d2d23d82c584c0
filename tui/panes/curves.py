"""Curves: a figure of every epoch over how far the training was, the mean over the seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.figures import LogFit, Point, curve, last_values, log_fit, mean_and_deviation
from tui.axis import Axis, axis_over
from tui.chart import Level, Marker, chart
from tui.marks import Mark
from tui.panes.pane import Pane
from tui.panes.waiting import awaited
from tui.quantities import ACCURACY, AXLES, DISTANCE, ERROR, QUANTITIES, Axle, Quantity
from tui.raster import Series
from tui.rows import Row, fit, row
from tui.units import deviation, figure, places, significant

LINEAR, LOG_X, LOG_Y = range(3)
SCALES = 3
LEGEND_FROM = 50
LABEL_MOST = 14
BEGINNING = 0.1
REFERENCE = {"mnist": 0.998}
REFERENCE_NEAR = 4


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve, and how far along the x axis its budget will take it (0 where nobody knows)."""

    name: str
    mark: Mark
    train: bool
    points: list[Point]
    planned: float

    @property
    def end(self) -> float:
        """Where it ends, or will."""
        return max(self.planned, self.points[-1].x)


@dataclass(frozen=True, slots=True)
class Last:
    """The last of a curve: over `n` finished seeds, or so far where `n` is 0."""

    mean: float
    spread: float | None
    n: int


class CurvesPane(Pane):
    """The answer as it firms up."""

    NUMBER, TITLE, TAB = 1, "accuracy", "curves"
    TOPICS = ("epochs", "trials", "data")

    scale = LINEAR
    train = True
    chosen = 0
    over = 0

    def options(self) -> object:
        """The figure, the axes, and whether train curves are shown."""
        return self.chosen, self.over, self.scale, self.train

    @property
    def heading(self) -> str:
        """The figure."""
        return QUANTITIES[self.chosen].name

    @property
    def tab(self) -> str:
        """The figure in a word."""
        return QUANTITIES[self.chosen].tab

    @property
    def quantity(self) -> Quantity:
        """What is drawn: on a log axis, mistakes tell more than accuracy."""
        chosen = QUANTITIES[self.chosen]
        return ERROR if chosen is ACCURACY and self.scale == LOG_Y else chosen

    @property
    def axle(self) -> Axle:
        """What lies along the x axis."""
        return AXLES[self.over]

    @property
    def fitted(self) -> bool:
        """Whether distance is held against the logarithm of the steps."""
        along_log = self.axle.along == "steps" and self.scale == LOG_X
        return self.quantity is DISTANCE and along_log

    def caption(self, width: int) -> Row:
        """What is drawn how."""
        twins = ["test ━", *(["train ╌"] if self.train else [])] if self.quantity.train else []
        if self.fitted:
            twins = ["fit ╌"]
        over = f"over {self.axle.name}, {self._scale_name()}"
        return self.said(width, "  ".join([*twins, over]), over)

    def turn(self, what: str, step: int) -> str:
        """Another figure, another x axis, other scales, or the train curves on and off."""
        match what:
            case "figure":
                self.chosen = (self.chosen + step) % len(QUANTITIES)
            case "over":
                self.over = (self.over + step) % len(AXLES)
            case "scale":
                self.scale = (self.scale + step) % SCALES
            case _ if self.quantity.train is None:
                return f"there is no train curve of the {self.heading}; y goes to another figure"
            case _:
                self.train = not self.train
        return ""

    def body(self, width: int, height: int) -> Sequence[Row]:
        """The curves, and beside them the legend with the figures."""
        curves = self._curves()
        if not curves:
            any_epoch = any(self.view.reached(name) for name in self.view.order)
            why = f"no {self.heading} was measured" if any_epoch else "no epoch has ended yet"
            return awaited(self.view, why, width, height)
        fits = self._fits(curves)
        legend = self._legend(width, fits) if width >= LEGEND_FROM else []
        beside = max((sum(len(text) for text, _ in line) for line in legend), default=-2) + 2
        plotted = self._plot(curves, fits, width - beside, height)
        return [
            (*fit(line, width - beside), ("  ", ""), *(legend[at] if at < len(legend) else ()))
            if legend
            else line
            for at, line in enumerate(plotted)
        ]

    def _scale_name(self) -> str:
        if self.quantity is ERROR:
            return "error (1 − accuracy) log"
        lost = self.scale == LOG_Y and any(
            point.mean <= 0 for one in self._curves() for point in one.points
        )
        return ("linear", "x log", "y log")[self.scale] + (" without what is ≤ 0" if lost else "")

    def _plot(
        self, curves: list[Drawn], fits: dict[str, LogFit], width: int, height: int
    ) -> list[Row]:
        series = [
            Series(
                [(point.x, point.mean) for point in one.points],
                one.mark.faint if one.train else one.mark.style,
                dashed=one.train,
            )
            for one in curves
        ]
        x = self._x_axis(curves)
        lines = [_line_of(fits[one.name], one) for one in curves if one.name in fits]
        known = self._reference(curves)
        return chart(
            [*lines, *series],
            x,
            self._y_axis(curves, known),
            (width, height),
            _staggered([one for one in curves if not one.train], x),
            known,
        )

    def _x_axis(self, curves: list[Drawn]) -> Axis:
        """All of the budget where it is known, so that a growing curve moves nothing drawn."""
        end = max(one.points[-1].x for one in curves)
        planned = max(self._planned(name) for name in self.view.order)
        if self.scale == LOG_X:
            firsts = (point.x for one in curves for point in one.points if point.x > 0)
            least = 1.0 if self.axle.along == "epochs" else min(firsts, default=1.0)
            return axis_over([least, max(end, planned, 2 * least)], log=True)
        if planned >= end:
            return Axis(0.0, max(planned, 1.0) if self.axle.along == "epochs" else planned)
        return Axis(0.0, _rounded(end))

    def _y_axis(self, curves: list[Drawn], known: Level | None) -> Axis:
        """Without the steep beginning, which would press all that follows together.

        A curve that begins below comes in through the lower edge.
        """
        log = self.scale == LOG_Y
        every = [point.mean for one in curves for point in one.points]
        late = [
            point.mean
            for one in curves
            for point in one.points
            if log or not self.quantity.steep or point.x >= BEGINNING * one.end
        ]
        near = known and _error(known.value, log) * REFERENCE_NEAR >= min(
            _error(value, log) for value in every
        )
        return axis_over([*(late or every), *([known.value] if known and near else [])], log=log)

    def _reference(self, curves: list[Drawn]) -> Level | None:
        """The best accuracy that is known for the data, where all curves are of the same."""
        configurations = self.view.state.configurations
        data = {configurations[one.name].settings.data.name for one in curves}
        best = REFERENCE.get(data.pop()) if len(data) == 1 else None
        if best is None or QUANTITIES[self.chosen] is not ACCURACY:
            return None
        return Level(1.0 - best if self.quantity is ERROR else best, f"{best * 100:.1f} published")

    def _planned(self, name: str) -> float:
        """Where the budget ends on the x axis; 0 where it does not say."""
        along = self.axle.along
        trials = self.view.state.replicates(name)
        for trial in trials:
            started = trial.started
            if self.axle.planned and started and started.total_steps:
                return self._ends(along, started.total_steps, max(1, started.steps_per_epoch), name)
        budget = getattr(trials[0].settings.train, along, None) if trials else None
        return float(budget or 0)

    def _ends(self, along: str, steps: int, an_epoch: int, name: str) -> float:
        if along == "steps":
            return float(steps)
        if along == "epochs":
            return float(math.ceil(steps / an_epoch))
        settings = self.view.state.configurations[name].settings
        data = self.view.state.data.get(settings.data.name)
        return steps / an_epoch * data.train if data else 0.0

    def _curves(self) -> list[Drawn]:
        """Every curve with its mark; train curves first, so that test curves lie on top."""
        found = []
        for train in (True, False):
            if train and not (self.train and self.quantity.train):
                continue
            for name in self.view.order:
                points = self._points(name, train)
                if points:
                    mark = self.view.marks[name]
                    found.append(Drawn(name, mark, train, points, self._planned(name)))
        return found

    def _points(self, name: str, train: bool) -> list[Point]:
        quantity, along, state = self.quantity, self.axle.along, self.view.state
        measure = quantity.train if train and quantity.train else quantity.test
        key = ("curve", name, train, self.chosen, quantity is ERROR, along)
        return self.view.once(
            key, self.view.reached(name), lambda: curve(state, name, measure, along)
        )

    def _fits(self, curves: list[Drawn]) -> dict[str, LogFit]:
        if not self.fitted:
            return {}
        fits = {one.name: log_fit((point.x, point.mean) for point in one.points) for one in curves}
        return {name: found for name, found in fits.items() if found}

    def _legend(self, width: int, fits: dict[str, LogFit]) -> list[Row]:
        """Each configuration with its figure: at the end over the seeds, or so far."""
        most = self.view.label_width(LABEL_MOST if width >= 70 else 6)
        head = "final test" if self.quantity.train else "final"
        if self.quantity is ERROR:
            head = "final test error"
        if self.fitted:
            head = "d = a + b·ln steps"
        lines = [row((f"  {head}".ljust(most + 24)[: most + 24], "dim"))]
        found = {name: self._last(name) for name in self.view.order}
        decimals = places(last.mean for last in found.values() if last)
        for name, last in found.items():
            told = _nothing()
            if self.fitted and name in fits:
                told = _fit(fits[name])
            elif last and not self.fitted:
                told = self._figure(name, last, 4 if self.quantity.share else decimals)
            lines.append(row(*self.view.marks[name].head(most), *told))
        return lines

    def _last(self, name: str) -> Last | None:
        """The figure over the finished seeds, or as it is so far."""
        finals = last_values(self.view.state, name, self.quantity.test)
        if finals:
            return Last(*mean_and_deviation(finals), len(finals))
        points = self._points(name, train=False)
        return Last(points[-1].mean, None, 0) if points else None

    def _figure(self, name: str, last: Last, decimals: int | None) -> Row:
        shown = f"{figure(last.mean, decimals):<6}"
        trials = self.view.state.replicates(name)
        if not last.n:
            reached = max(trial.last.epoch for trial in trials if trial.last)
            return row((f"{shown} epoch {reached:<6}", "dim"))
        spread = deviation(last.spread, decimals) if last.spread is not None else ""
        some = f"{last.n}/{len(trials)}" if last.n < len(trials) else f"n={last.n}"
        return row((shown, "strong"), f" {spread:<6} ", (f"{some:<5}", "dim"))


def _nothing() -> Row:
    return row(("–".ljust(19), "dim"))


def _fit(found: LogFit) -> Row:
    slope = f"b {significant(found.slope)}"
    return row((f"{slope:<8}", "strong"), f" R² {found.r2:<7.4f}")


def _rounded(end: float) -> float:
    """A little more, so that the axis of a growing curve is redrawn seldom."""
    step = 10.0 ** math.floor(math.log10(end)) / 2 if end > 0 else 1.0
    return math.ceil(end / step) * step


def _error(value: float, log: bool) -> float:
    """The share of mistakes; on the log axis that is what is drawn."""
    return value if log else 1.0 - value


def _line_of(found: LogFit, one: Drawn) -> Series:
    """The fit from the curve's first point to its last."""
    ends = [one.points[0].x, one.points[-1].x]
    line = [(x, found.intercept + found.slope * math.log(x)) for x in ends]
    return Series(line, one.mark.faint, dashed=True)


def _staggered(curves: list[Drawn], x: Axis) -> list[Marker]:
    """Two places on each curve for its marker, no two curves at the same place if avoidable."""
    placed = []
    for index, one in enumerate(curves):
        first = (x.share(one.points[0].x) or 0.0) if x.log else 0.0
        last = x.share(one.end) or 0.0
        for half in (0, 1):
            wanted = first + (last - first) * (half + (index + 0.5) / len(curves)) / 2
            point = min(one.points, key=lambda p, at=wanted: abs((x.share(p.x) or 0.0) - at))  # type: ignore[misc]
            placed.append((point.x, point.mean, one.mark.glyph, one.mark.style))
    return placed

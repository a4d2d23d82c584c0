"""The curves pane: a metric of every epoch over the progress of the training, mean over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from batchscope.engine.metrics.log_fit import LogFit, log_fit
from batchscope.engine.metrics.noise_scale import no_noise_scale
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.curves.axes import holds_points, reference, whole_x, y_axis, zoomed
from batchscope.tui.panes.curves.cursor import measured_at, place_text, stepped
from batchscope.tui.panes.curves.legend import (
    LegendLine,
    fitted,
    legend,
    reading_of,
    width_beside,
)
from batchscope.tui.panes.curves.options import Lens
from batchscope.tui.panes.curves.overlay import Overlay, sources
from batchscope.tui.panes.curves.series import (
    CurveSource,
    PlottedCurve,
    banded,
    gathered,
    own,
    raw_behind,
)
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.axis import Axis
from batchscope.tui.render.chart import plot_columns
from batchscope.tui.render.styled_text import EMPTY, Row, fit, row
from batchscope.tui.viewmodel.focus import Entry, Focus
from batchscope.tui.viewmodel.quantities import ERROR
from batchscope.tui.viewmodel.view import View

LEGEND_FROM = 50


class CurvesPane(Pane):
    """Draws one metric of all configurations as curves, with a legend next to them."""

    NAME, TITLE = "curves", "accuracy"
    TOPICS = ("epochs", "trials", "data")

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._lens = Lens()
        self.overlays: list[Overlay] = []
        self.selected: Entry | None = None
        self._columns = 1
        self._legend: Sequence[LegendLine] = ()
        self._legend_from = 0
        self._legend_top = 1

    @property
    def lens(self) -> Lens:
        """The options; what can be drawn of a task is known once its function has been run."""
        if self._lens.offered is not self.view.quantities:
            self._lens = self._lens.offering(self.view.quantities)
        return self._lens

    @lens.setter
    def lens(self, lens: Lens) -> None:
        self._lens = lens

    def options(self) -> object:
        """Return the lens, the selected configuration and the overlaid sweeps."""
        return self.lens, self.selected, tuple(overlay.stamp for overlay in self.overlays)

    @property
    def heading(self) -> str:
        """The name of the metric, and which direction is better."""
        return self.lens.heading

    @property
    def tab(self) -> str:
        """The name of the metric in a word."""
        return self.lens.tab

    def caption(self, width: int) -> Row:
        """Return the signs of the lines and the axes; in a narrow pane the axes alone."""
        lens, curves = self.lens, self._curves()
        over = f"over {lens.axle.name}, {self._scale_name(curves)}"
        left = len(self.view.order) - len(self.view.preferred)
        if left:
            fresh = any(each.confirms for each in self.view.state.configurations.values())
            over += f", {left} {'candidates' if fresh else 'rejected'} "
            over += "drawn" if lens.rivals else "hidden"
        if lens.strength:
            behind = " over raw" if raw_behind(curves) else ""
            over += f", smoothed {lens.strength:g}{behind}"
        if lens.zoom:
            over += f", ×{2**lens.zoom}"
        line, dashes = ("a", ".") if self.view.look.ascii else ("━", "╌")
        signs = [f"{lens.quantity.part} {line}"] if lens.quantity.train else []
        signs += [f"train {dashes}"] if lens.twins else []
        signs += ["±1 sd ⢂"] if lens.spread and banded(curves) else []
        signs += [f"batch sizes {dashes}"] if lens.quantity.sized else []
        if lens.fitted:
            signs = [f"fit {dashes}"]
        at = f"at {place_text(lens.cursor, lens.axle)}  " if lens.cursor is not None else ""
        return self.said(width, at + "  ".join([*signs, over]), at + over, at.rstrip() or over)

    def turn(self, what: str, step: int) -> str:
        """Change the metric, an axis, the smoothing, the cursor or the zoom.

        Returns:
            A hint why nothing changed; empty if something did.
        """
        lens = self.lens
        match what:
            case "figure":
                at = self.figure_names.index(lens.offered[lens.chosen].name) + step
                self.choose_figure(self.figure_names[at % len(self.figure_names)])
                return ""
            case "rivals":
                if len(self.view.preferred) == len(self.view.order):
                    return "All curves are drawn: no candidate was rejected"
                lens = replace(lens, rivals=not lens.rivals)
            case "over":
                lens = lens.other_axle(step)
            case "scale":
                lens = lens.other_scale(step)
            case "smooth":
                lens = lens.smoother(step)
            case "cursor":
                return self._move_cursor(step)
            case "zoom":
                return self._zoom(step)
            case _:
                return self._beside()
        self.lens = lens
        return ""

    def release(self) -> bool:
        """Remove the cursor on the axis, then that of the legend; return whether there was one."""
        if self.lens.cursor is not None:
            self.lens = replace(self.lens, cursor=None)
            return True
        had, self.selected = self.selected is not None, None
        return had

    @property
    def figure_names(self) -> list[str]:
        """The names of the metrics that this sweep can have."""
        validates = self._validates
        return [each.name for each in self.lens.offered if validates or not each.held_out]

    @property
    def figure_name(self) -> str:
        """The name of the metric that is drawn."""
        return self.lens.offered[self.lens.chosen].name

    def choose_figure(self, name: str) -> None:
        """Draw the metric of this name."""
        names = [each.name for each in self.lens.offered]
        self.lens = replace(self.lens, chosen=names.index(name))

    # Hidden configurations

    def entries(self) -> list[Entry]:
        """Return the configurations that the legend lists, in its order."""
        return [(source.key, name) for source in self.sources() for name in source.order]

    def move(self, rows: int) -> bool:
        """Select another configuration of the legend; return False at either end."""
        entries = self.entries()
        if not entries or self._inner()[0] < LEGEND_FROM:
            return False
        before = entries.index(self.selected) if self.selected in entries else None
        start = before if before is not None else (-1 if rows > 0 else len(entries))
        after = max(0, min(len(entries) - 1, start + rows))
        self.selected = entries[after]
        self.draw()
        return after != before

    def no_further(self, rows: int) -> str:
        """Return what to say at either end of the legend, or where it has no room."""
        if self._inner()[0] < LEGEND_FROM:
            return "The legend has no room here; the trials pane selects configurations too"
        return f"This is the {'first' if rows < 0 else 'last'} configuration"

    def pressed(self, at: int, column: int, twice: bool) -> str | None:
        """Hide or show the configuration of a line of the legend; a double click isolates it."""
        if column < self._legend_from or at >= len(self._legend):
            return None
        entry = self._legend[at].entry
        if entry is None:
            return None
        self.selected = entry
        return self.isolate(entry) if twice else self.hide(entry)

    def hide(self, entry: Entry) -> str:
        """Hide a configuration, or show it again; return why that is impossible."""
        focus = self.view.focus.toggled(entry)
        if all(focus.hides(name, sweep) for sweep, name in self.entries()):
            return "The last one stays; i shows all"
        self._focus(focus, entry)
        return ""

    def isolate(self, entry: Entry) -> str:
        """Hide all other configurations, or show all again; return why that is impossible."""
        every = {*self.entries(), *(("", name) for name in self.view.order)}
        if len(every) < 2:
            return "There is no other configuration to hide"
        self._focus(self.view.focus.isolated(entry, every), entry)
        return ""

    def _focus(self, focus: Focus, entry: Entry) -> None:
        """Set the focus; a rejected candidate that a person wants to see is drawn."""
        self.view.focus = focus
        sweep, name = entry
        rejected = not sweep and name not in self.view.preferred
        if rejected and focus.hidden and not focus.hides(name):
            self.lens = replace(self.lens, rivals=True)

    def _beside(self) -> str:
        curves = self._curves()
        lens = self.lens.beside(bool(banded(curves)))
        if lens is None:
            many = any(one.spread for one in curves)
            why = "so many bands would overlap" if many else "no spread over seeds"
            return f"No train curve of the {self.lens.quantity.name}, and {why}"
        self.lens = lens
        return ""

    def _move_cursor(self, step: int) -> str:
        """Move the cursor to the next measured point; past the last one it is removed."""
        curves = self._curves()
        if not curves:
            return "There is no curve to read yet"
        x = self._x_axis(curves, self.lens)
        at = stepped(measured_at(curves), x, self._columns, self.lens.cursor, step)
        self.lens = replace(self.lens, cursor=at)
        if at is not None and not x.low <= at <= x.high:
            self.lens = replace(self.lens, middle=at)
        return ""

    def _zoom(self, step: int) -> str:
        """Zoom in while there are points, zoom out, or show the whole axis (step 0)."""
        curves = self._curves()
        if step <= 0 and not self.lens.zoom:
            return "The whole x axis is shown"
        lens = self.lens.zoomed(self.lens.zoom + step if step else 0)
        if step > 0 and not (
            curves and holds_points(self._x_axis(curves, lens), measured_at(curves))
        ):
            return "Too few points to zoom in further"
        self.lens = lens
        return ""

    def prepare(self) -> None:
        """Load numpy and compute the curves in a thread, while there is nothing else to do.

        Otherwise the first paint or a key press would wait for numpy.
        """
        import batchscope.tui.panes.curves.plot  # noqa: F401

        self._curves()

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the curves, with the legend and its numbers next to them if there is room."""
        curves = self._curves()
        fits = self._fits(curves)
        beside: list[LegendLine] = []
        if width >= LEGEND_FROM and (curves or self.view.focus.hidden):
            lines = legend(self.view, self.sources(), self.lens, fits, width)
            hidden = self.view.focus.hidden
            beside, self._legend_top = fitted(
                lines, hidden, self.selected, self._legend_top, height
            )
        room = width - width_beside(beside)
        self._legend, self._legend_from = beside, room
        plotted = self._drawn_or_why(curves, fits, room, height)
        if not beside:
            return plotted
        return [
            (*fit(plotted[at] if at < len(plotted) else EMPTY, room), *self._legend_line(at))
            for at in range(max(len(plotted), min(len(beside), height)))
        ]

    def _legend_line(self, at: int) -> Row:
        """Return a line of the legend with the gap before it, which marks the selected one."""
        if at >= len(self._legend):
            return row("  ")
        each = self._legend[at]
        chosen = each.entry is not None and each.entry == self.selected
        return (*row((" ›", "accent") if chosen else "  "), *each.line)

    def _drawn_or_why(
        self, curves: Sequence[PlottedCurve], fits: dict[str, LogFit], width: int, height: int
    ) -> list[Row]:
        """Return the curves over their axes, or why there are none."""
        if not curves:
            any_epoch = any(self.view.reached(name) for name in self.view.shown)
            none = f"no {self.lens.quantity.name} was measured"
            why = none if any_epoch else "no epoch has ended yet"
            refused = self._refused()
            return awaited(self.view, f"{why}: {refused}" if refused else why, width, height)
        return self._plot(curves, fits, width, height)

    def table(self) -> Iterable[Line]:
        """Return the mean and spread of each curve: the final values, or those at the cursor."""
        quantity = self.lens.quantity
        metric = f"{quantity.part} {quantity.name}" if quantity.train else quantity.name
        yield "sweep", "configuration", metric, "standard deviation", "seeds", "of"
        for source in self.sources():
            for name in source.order:
                hidden = self.view.focus.hides(name, source.key)
                reading = None if hidden else reading_of(self.view, source, name, self.lens)
                if reading:
                    seeds = reading.n or f"epoch {reading.epoch}"
                    label = source.marks[name].label
                    yield source.title, label, reading.mean, reading.spread, seeds, reading.seeds

    def _refused(self) -> str:
        """Return why there is no noise scale; empty if there is one or another metric is shown."""
        if not self.lens.quantity.sized:
            return ""
        configurations = self.view.state.configurations.values()
        reasons = [no_noise_scale(each.settings) for each in configurations]
        return reasons[0] if reasons and all(reasons) else ""

    def _scale_name(self, curves: Sequence[PlottedCurve]) -> str:
        if self.lens.quantity is ERROR:
            return "error (1 − accuracy) log"
        lost = self.lens.log_y and any((one.raw.mean <= 0).any() for one in curves)
        named = ("linear", "x log", "y log")[self.lens.scale]
        return named + (", values ≤ 0 not drawn" if lost else "")

    def _plot(
        self, curves: Sequence[PlottedCurve], fits: dict[str, LogFit], width: int, height: int
    ) -> list[Row]:
        from batchscope.tui.panes.curves.plot import picture  # loads numpy

        lens = self.lens
        known = reference(self.view, lens, curves)
        x = self._x_axis(curves, lens)
        y = y_axis(lens, curves, x, known)
        self._columns = max(1, plot_columns(y, (width, height)))
        return picture(self.view, curves, fits, lens, (x, y), (width, height), known)

    def _x_axis(self, curves: Sequence[PlottedCurve], lens: Lens) -> Axis:
        return zoomed(whole_x(self.view, lens, curves), lens, curves)

    def sources(self) -> list[CurveSource]:
        """Return the sweeps that the pane draws, the board's own first."""
        return [own(self.view, self.lens.rivals), *sources(self.view, self.overlays)]

    @property
    def _validates(self) -> bool:
        """Whether any configuration holds out validation images."""
        return any(c.settings.data.validation for c in self.view.state.configurations.values())

    def _curves(self) -> list[PlottedCurve]:
        return gathered(self.view, self.sources(), self.lens)

    def _fits(self, curves: Sequence[PlottedCurve]) -> dict[str, LogFit]:
        if not self.lens.fitted:
            return {}
        fits = {
            one.name: log_fit(zip(one.raw.x.tolist(), one.raw.mean.tolist(), strict=True))
            for one in curves
            if one.own
        }
        return {name: fitted for name, fitted in fits.items() if fitted}

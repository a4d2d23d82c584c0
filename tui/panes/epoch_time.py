"""Epoch time per batch size: bars, and how much faster each is than the next smaller size."""

from collections.abc import Sequence

from engine.figures import EpochTime, epoch_times
from tui.panes.pane import Pane
from tui.panes.waiting import awaited
from tui.raster import bar
from tui.rows import EMPTY, Row, cell, row, wrap
from tui.units import duration, rate

LABEL_MOST = 16


class EpochTimePane(Pane):
    """How long an epoch takes, and beside what it was measured."""

    NUMBER, TITLE, TAB = 2, "epoch time", "time"
    TOPICS = ("epochs", "trials", "data")

    def caption(self, width: int) -> Row:
        """The figure and what the last column means."""
        return row(("median · ÷ to the next smaller", "dim")) if width >= 44 else EMPTY

    def wanted_rows(self) -> int:
        """A bar each, and how it was measured."""
        return len(self.view.order) + 2

    def body(self, width: int, height: int) -> Sequence[Row]:
        """A bar for each configuration that has a whole epoch."""
        state = self.view.state
        stamp = tuple(self.view.reached(name) for name in self.view.order)
        times = self.view.once("times", (stamp, len(state.data)), lambda: epoch_times(state))
        if not times:
            return awaited(self.view, "no whole epoch has ended yet", width, height)
        longest = max(time.seconds for time in times)
        label = self.view.label_width(LABEL_MOST)
        lines = [self._line(time, longest, label, width) for time in times]
        return [*lines, *wrap(self._beside_what(), width, "dim")]

    def _line(self, time: EpochTime, longest: float, label: int, width: int) -> Row:
        mark = self.view.marks[time.configuration]
        figures = [cell(duration(time.seconds), 8, right=True)]
        if width >= 64:
            figures.append(cell(rate(time.samples_per_second), 12, "dim", right=True))
        ratio, tone = "", ""
        if time.ratio is not None:
            ratio = f" ÷{time.ratio:.1f}"
            tone = "warn" if time.ratio < 0.95 else "good" if time.ratio >= 1.05 else "dim"
        figures.append(cell(ratio, 6, tone))
        room = width - label - 3 - sum(len(text) for text, _ in figures)
        drawn = bar(time.seconds / longest, room) if room > 2 and longest > 0 else ""
        return row(*mark.head(label), (drawn, mark.style), *figures)

    def _beside_what(self) -> str:
        settings = [c.settings for c in self.view.state.configurations.values()]
        if all(setting.run.timing == "alone" for setting in settings):
            return "measured alone: nothing else of the sweep ran"
        workers = len(self.view.state.workers)
        others = (
            f"up to {workers} trials ran at once" if workers > 1 else "other trials may have run"
        )
        return f"measured shared: {others}"

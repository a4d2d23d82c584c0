"""The pane of the log: what happened, newest at the bottom."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from batchscope.engine.journal.sweep_state import LogLine
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import Row, row, wrap

SIGNS = {"info": (" ", ""), "warning": ("!", "warn"), "error": ("✗", "bad")}
STAMP = 11


class LogPane(Pane):
    """The lines of the log; it shows the newest until the user scrolls up."""

    NAME, TITLE = "log", "log"
    TOPICS = ("log",)

    def options(self) -> object:
        """Return damage and errors of the journal, which are not events."""
        return self.view.damaged, self.view.problem

    def caption(self, width: int) -> Row:
        """Return which part of the journal could not be read, or else the order of the lines."""
        if self.view.problem:
            return row((self.view.problem, "bad"))
        count = self.view.damaged
        lines = "line" if count == 1 else "lines"
        if count:
            return row((f"{count} damaged journal {lines} skipped", "warn"))
        return row(("newest at the bottom", "dim"))

    def first_row(self, total: int, height: int) -> int:
        """Return the row that shows the end."""
        return max(0, total - height)

    def table(self) -> Iterable[Line]:
        """Return one row per log line."""
        yield "time", "level", "message"
        for line in self.view.state.log:
            moment = datetime.fromtimestamp(line.at).astimezone()
            yield moment.isoformat(timespec="seconds"), line.level, line.text

    def wanted_rows(self) -> int:
        """Count the lines."""
        return len(self.view.state.log)

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return every line, wrapped."""
        lines: list[Row] = []
        for line in self.view.state.log:
            lines += _lines(line, width)
        return lines or awaited(self.view, "No events yet", width, height)


def _lines(line: LogLine, width: int) -> list[Row]:
    sign, style = SIGNS.get(line.level, SIGNS["info"])
    stamp = time.strftime("%H:%M:%S", time.localtime(line.at))
    first, *rest = wrap(line.text, width - STAMP, style)
    return [
        (*row((stamp, "dim"), " ", (sign, style), " "), *first),
        *((*row(" " * STAMP), *more) for more in rest),
    ]

"""The log: what happened, newest at the bottom."""

import time
from collections.abc import Sequence

from batchscope.engine.journal.sweep_state import LogLine
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import Row, row, wrap

SIGNS = {"info": (" ", ""), "warning": ("!", "warn"), "error": ("✗", "bad")}
STAMP = 11


class LogPane(Pane):
    """Follows the end until somebody scrolls up."""

    NAME, TITLE = "log", "log"
    TOPICS = ("log",)

    def options(self) -> object:
        """Damage is no event."""
        return self.view.damaged, self.view.problem

    def caption(self, width: int) -> Row:
        """Lines of the journal that could not be read are told, not passed over."""
        if self.view.problem:
            return row((self.view.problem, "bad"))
        count = self.view.damaged
        lines = "line" if count == 1 else "lines"
        if count:
            return row((f"{count} damaged {lines} of the journal skipped", "warn"))
        return row(("newest at the bottom", "dim"))

    def first_row(self, total: int, height: int) -> int:
        """The end."""
        return max(0, total - height)

    def wanted_rows(self) -> int:
        """As many as there are."""
        return len(self.view.state.log)

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Every line, wrapped."""
        lines: list[Row] = []
        for line in self.view.state.log:
            lines += _lines(line, width)
        return lines or awaited(self.view, "nothing has happened yet", width, height)


def _lines(line: LogLine, width: int) -> list[Row]:
    sign, style = SIGNS.get(line.level, SIGNS["info"])
    stamp = time.strftime("%H:%M:%S", time.localtime(line.at))
    first, *rest = wrap(line.text, width - STAMP, style)
    return [
        (*row((stamp, "dim"), " ", (sign, style), " "), *first),
        *((*row(" " * STAMP), *more) for more in rest),
    ]

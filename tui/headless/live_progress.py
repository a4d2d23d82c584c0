"""Draws progress at the bottom of a terminal with Rich, on the stream of the log lines.

`tui.headless.progress_rows` makes the rows. They are erased at the end, and the cursor stays
visible, so a killed process leaves nothing to repair. If the window is made narrower, a terminal
that wraps its lines keeps a broken copy of the last rows: erasing that copy too would erase log
lines in a terminal that cuts its lines.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from batchscope.engine.journal.sweep_state import SweepState
from batchscope.tui.headless.event_text import ROUTINE
from batchscope.tui.headless.log_lines import Line, short_text
from batchscope.tui.headless.progress_rows import progress_rows
from batchscope.tui.render.ascii import plain
from batchscope.tui.render.styled_text import Row
from batchscope.tui.terminal.escapes import takes_more
from batchscope.tui.theme.palette import Depth, style_of

LEVELS = {"warning": "warn", "error": "bad"}
ROWS_MOST = 9
ERASE_BELOW = "\x1b[J"


class LiveDisplay:
    """A live display. It draws at most every `refresh` seconds, and only if the line is free."""

    def __init__(
        self,
        stream: TextIO,
        ascii_only: bool,
        refresh: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not os.environ.get("NO_COLOR"):  # an empty value has no effect (no-color.org)
            os.environ.pop("NO_COLOR", None)
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._stream, self._ascii, self._refresh, self._clock = stream, ascii_only, refresh, clock
        self._drawn_in = self._console.size
        self._drawn_at, self._rows = -refresh, tuple[Row, ...]()
        system, bare = self._console.color_system, self._console.no_color
        self._depth: Depth = (
            "none" if bare or not system else "sixteen" if system == "standard" else "many"
        )

    def scroll(self, lines: Sequence[Line]) -> None:
        """Print log lines above the rows, except those that only repeat the rows."""
        texts = [self._line(line) for line in lines if line.event not in ROUTINE]
        if texts:
            self._console.print(Text("\n").join(texts), soft_wrap=True)
            self._return()

    def draw(self, state: SweepState, alive: bool, stopping: bool) -> None:
        """Redraw the rows if the refresh interval has passed."""
        now = time.monotonic()
        if now - self._drawn_at < self._refresh or not takes_more(self._stream.fileno()):
            return
        self._drawn_at = now
        width, height = self._size()
        most = max(2, min(ROWS_MOST, height // 3))
        rows = progress_rows(state, self._clock(), max(1, width - 1), most, alive, stopping)
        if not self._live.is_started:
            self._live.start()
            self._console.show_cursor(True)
        if tuple(rows) != self._rows:
            self._rows = tuple(rows)
            self._live.update(Text("\n").join(map(self._text, rows)), refresh=True)
            self._return()

    def close(self) -> None:
        """Erase the rows."""
        self._live.stop()

    def _size(self) -> tuple[int, int]:
        """Return columns and lines; after a change, erase wrapped lines below the cursor."""
        size = self._console.size
        if self._live.is_started and size != self._drawn_in:
            self._stream.write(ERASE_BELOW)
        self._drawn_in = size
        return size

    def _return(self) -> None:
        """Move the cursor to the first column: an echoed ^C in the last column would wrap."""
        self._console.control(Control(ControlType.CARRIAGE_RETURN))

    def _line(self, line: Line) -> Text:
        style = style_of(LEVELS[line.level], depth=self._depth) if line.level in LEVELS else ""
        return Text(self._shown(short_text(line)), style=style)

    def _text(self, of: Row) -> Text:
        text = Text(no_wrap=True, overflow="crop")
        for piece, style in of:
            text.append(self._shown(piece), style_of(style, depth=self._depth) if style else "")
        return text

    def _shown(self, text: str) -> str:
        return plain(text) if self._ascii else text

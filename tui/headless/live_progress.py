"""Progress at the foot of a terminal, drawn by Rich on the stream of the log lines.

The rows are `tui.headless.progress_rows`'s. What is drawn is wiped at the end, and the cursor stays
visible, so that nothing has to be repaired after a kill. Where the window is made narrower, a
terminal that folds its lines keeps a torn copy of what was drawn last; to wipe that as well would
cost log lines in a terminal that cuts them.
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
    """Draws at most once in `refresh` seconds, and not while the line is still busy."""

    def __init__(
        self,
        stream: TextIO,
        ascii_only: bool,
        refresh: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not os.environ.get("NO_COLOR"):  # an empty one asks for nothing (no-color.org)
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
        """Put lines above the rows; those that the rows make needless are left out."""
        texts = [self._line(line) for line in lines if line.event not in ROUTINE]
        if texts:
            self._console.print(Text("\n").join(texts), soft_wrap=True)
            self._return()

    def draw(self, state: SweepState, alive: bool, stopping: bool) -> None:
        """Draw the rows anew where it is time to."""
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
        """Wipe the rows."""
        self._live.stop()

    def _size(self) -> tuple[int, int]:
        """Columns and lines; where they changed, what was folded below the cursor is wiped."""
        size = self._console.size
        if self._live.is_started and size != self._drawn_in:
            self._stream.write(ERASE_BELOW)
        self._drawn_in = size
        return size

    def _return(self) -> None:
        """Cursor to the first column: the ^C that a terminal echoes at the last one would wrap."""
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

"""Writes log lines, one per event, as text for a person or as JSON for a program.

Every JSON line has `time`, `level`, `event`, `message` and `sweep`, and the figures of its kind
(`tui.headless.event_text`). `docs/headless.md` defines them.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TextIO

from batchscope.engine.errors import printable
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.tui.render.ascii import json_text

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Line:
    """The log line of one event; `at` is Unix time in seconds, None means now."""

    event: str
    text: str
    level: str = "info"
    at: float | None = None
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def moment(self) -> datetime:
        """Return the time of the event in this machine's time zone."""
        return datetime.fromtimestamp(self.at if self.at is not None else time.time()).astimezone()


def short_text(line: Line) -> str:
    """Return the line for a terminal: time of day, level unless it is info, text."""
    mark = "" if line.level == "info" else f"{line.level}: "
    return f"{line.moment:%H:%M:%S} {mark}{printable(line.text)}"


def full_text(line: Line) -> str:
    """Return the line for a file: date, time and zone, level, text."""
    return f"{line.moment.isoformat(timespec='seconds')} {line.level}: {printable(line.text)}"


def json_line(line: Line, sweep: str | None, stream: TextIO) -> str:
    """Return the line as one JSON object, escaped for the encoding of `stream`."""
    fields = {
        "time": line.moment.isoformat(timespec="milliseconds"),
        "level": line.level,
        "event": line.event,
        "message": line.text,
        "sweep": sweep,
    }
    return json_text({**fields, **line.figures}, stream)


class Display(Protocol):
    """A display below the log lines on a terminal."""

    def scroll(self, lines: Sequence[Line]) -> None:
        """Print log lines above it."""

    def draw(self, state: SweepState, alive: bool, stopping: bool) -> None:
        """Show the progress of the sweep."""

    def close(self) -> None:
        """Erase it."""


class Log:
    """Writes log lines to a stream, with a display below them if there is one.

    Args:
        style: "text" or "json".
        stream: where to write; None means stderr.
        quiet: write only warnings and errors.
        sweep: id of the sweep for JSON lines; may be set later.
        display: draws progress below the lines.
    """

    def __init__(
        self,
        style: LogFormat,
        stream: TextIO | None = None,
        quiet: bool = False,
        sweep: str | None = None,
        display: Display | None = None,
    ) -> None:
        self.style, self.sweep, self.stopping = style, sweep, False
        self._stream, self._quiet, self._display = stream or sys.stderr, quiet, display
        self._held: list[Line] = []
        self._text = short_text if self._stream.isatty() else full_text

    def say(self, event: str, text: str, level: str = "info", **figures: object) -> None:
        """Write a line about something that is not in the journal."""
        self.write([Line(event, text, level, figures=figures)])
        self._release()

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines; a closed stream is ignored, so that the sweep goes on."""
        wanted = [line for line in lines if not (self._quiet and line.level == "info")]
        if self._display:
            self._held += wanted  # printed together, because each print redraws the display
        elif wanted:
            text = "".join(f"{self._shown(line)}\n" for line in wanted)
            with suppress(OSError, ValueError):
                print(text, end="", file=self._stream, flush=True)

    def draw(self, state: SweepState, alive: bool) -> None:
        """Print the lines held back and redraw the display, if there is one."""
        self._release()
        if self._display:
            with suppress(OSError, ValueError):
                self._display.draw(state, alive, self.stopping)

    def close(self) -> None:
        """Remove the display; lines can still be written."""
        self._release()
        if self._display:
            with suppress(OSError, ValueError):
                self._display.close()
            self._display = None

    def _release(self) -> None:
        if self._display and self._held:
            with suppress(OSError, ValueError):
                self._display.scroll(self._held)
            self._held = []

    def _shown(self, line: Line) -> str:
        if self.style == "json":
            return json_line(line, self.sweep, self._stream)
        return self._text(line)

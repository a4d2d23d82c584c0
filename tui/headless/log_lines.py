"""Log lines: one an event, as text for a person or as JSON for a collector, on one stream.

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
    """What there is to say of one event; `at` is Unix time in seconds, now where it is None."""

    event: str
    text: str
    level: str = "info"
    at: float | None = None
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def moment(self) -> datetime:
        """When it was, in the zone of this machine."""
        return datetime.fromtimestamp(self.at if self.at is not None else time.time()).astimezone()


def short_text(line: Line) -> str:
    """The line for somebody who looks on: clock, level where it matters, text."""
    mark = "" if line.level == "info" else f"{line.level}: "
    return f"{line.moment:%H:%M:%S} {mark}{printable(line.text)}"


def full_text(line: Line) -> str:
    """The line for a file: date and zone, level, text."""
    return f"{line.moment.isoformat(timespec='seconds')} {line.level}: {printable(line.text)}"


def json_line(line: Line, sweep: str | None, stream: TextIO) -> str:
    """The line as one JSON object, escaped as `stream` needs it."""
    fields = {
        "time": line.moment.isoformat(timespec="milliseconds"),
        "level": line.level,
        "event": line.event,
        "message": line.text,
        "sweep": sweep,
    }
    return json_text({**fields, **line.figures}, stream)


class Display(Protocol):
    """What stands below the log lines on a terminal and moves."""

    def scroll(self, lines: Sequence[Line]) -> None:
        """Put lines above it."""

    def draw(self, state: SweepState, alive: bool, stopping: bool) -> None:
        """Show how far the sweep is."""

    def close(self) -> None:
        """Leave nothing of itself behind."""


class Log:
    """Writes log lines to a stream (stderr) at once; with a display, above that.

    `quiet` leaves warnings and errors. `sweep` is the id that JSON lines carry once there is one.
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
        """Say something that is in no journal."""
        self.write([Line(event, text, level, figures=figures)])
        self._release()

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines; a reader that went away is no reason to stop."""
        wanted = [line for line in lines if not (self._quiet and line.level == "info")]
        if self._display:
            self._held += wanted  # shown together: each time the display is drawn anew
        elif wanted:
            text = "".join(f"{self._shown(line)}\n" for line in wanted)
            with suppress(OSError, ValueError):
                print(text, end="", file=self._stream, flush=True)

    def draw(self, state: SweepState, alive: bool) -> None:
        """Show the lines that are held back, and how far the sweep is, where there is a display."""
        self._release()
        if self._display:
            with suppress(OSError, ValueError):
                self._display.draw(state, alive, self.stopping)

    def close(self) -> None:
        """Take the display away; lines can still be written."""
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

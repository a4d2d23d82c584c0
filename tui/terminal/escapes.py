"""Control sequences for the terminal (clipboard, title), and whether it is ready for output."""

import base64
import select
import sys
from collections.abc import Mapping

from rich.cells import set_cell_size

from batchscope.engine.errors import printable

CLIPBOARD_MOST = 74_000
"""Characters in base64 that terminals accept at once."""
TITLE_MOST = 80
UNTITLED = ("", "dumb", "linux", "unknown")
"""Terminals without a title."""
SAVE_TITLE = "\x1b[22;2t"
RESTORE_TITLE = "\x1b]2;\x07\x1b[23;2t"
"""An empty title, for terminals that save none, then the saved title."""

NO_PIXELS = "\x1b[?1016l"
"""Mouse positions in cells: Textual turns them to pixels, and not back."""
LEAVE_SCREEN = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
    f"{NO_PIXELS}\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l{RESTORE_TITLE}"
)
"""Undoes everything that Textual's driver does to a terminal at its start."""


def clipboard(text: str, environment: Mapping[str, str]) -> str:
    """Return the OSC 52 sequence that copies a text; empty if the text is too long for terminals.

    Within tmux it is sent through to the terminal around it as well (where `allow-passthrough` is
    on); tmux itself listens to the plain one (where `set-clipboard` is on).
    """
    encoded = base64.b64encode(text.encode()).decode()
    if len(encoded) > CLIPBOARD_MOST:
        return ""
    sequence = f"\x1b]52;c;{encoded}\x07"
    if environment.get("TMUX"):
        sequence += "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def has_title(environment: Mapping[str, str]) -> bool:
    """Return whether this kind of terminal has a title that can be set."""
    return environment.get("TERM", "") not in UNTITLED


def title(text: str) -> str:
    """Return the OSC 2 sequence that sets a title, with printable characters only."""
    shown = printable(text)
    return f"\x1b]2;{set_cell_size(shown, TITLE_MOST) if len(shown) > TITLE_MOST else shown}\x07"


def takes_more(descriptor: int | None = None) -> bool:
    """Return whether a write would not block; by default to stderr, to which Textual draws."""
    try:
        if descriptor is None:
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
        return bool(select.select([], [descriptor], [], 0)[1])
    except (OSError, ValueError):  # there is no terminal to wait for
        return True

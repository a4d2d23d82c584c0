"""Sequences that steer a terminal (clipboard, title), and whether it takes more now or is busy."""

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
"""An empty title, for terminals that keep none, and then the one that was kept."""


def clipboard(text: str, environment: Mapping[str, str]) -> str:
    """OSC 52 with a text; empty where it is longer than terminals take.

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
    """Whether this kind of terminal has a title that can be set."""
    return environment.get("TERM", "") not in UNTITLED


def title(text: str) -> str:
    """OSC 2 with a text that holds nothing but printable characters."""
    shown = printable(text)
    return f"\x1b]2;{set_cell_size(shown, TITLE_MOST) if len(shown) > TITLE_MOST else shown}\x07"


def takes_more(descriptor: int | None = None) -> bool:
    """Whether a write would go out at once; by default to where Textual draws, standard error."""
    try:
        if descriptor is None:
            descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
        return bool(select.select([], [descriptor], [], 0)[1])
    except (OSError, ValueError):  # none at all: nobody waits for it
        return True

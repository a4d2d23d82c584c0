"""What there is to see and to press, from the registry of commands."""

import textwrap
from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from batchscope.tui.config.commands import Command
from batchscope.tui.screens.dialog import Dialog

ABOUT = (
    "Closing this screen, or losing the line, costs a sweep nothing.\n"
    "A marker and a colour mean the same batch size in every pane."
)
CLOSING = "arrows scroll, any other key closes"
KEYS = 12
WIDTH, AROUND, LEAST, FRINGE = 76, 7, 20, 10
"""Cells of the dialog, of what stands around its text, of a line at least, and beside it."""


class Help(Dialog[None]):
    """Scrolls with the arrows; any other key closes it."""

    CSS_PATH = "dialog.tcss"
    SCROLLING = ("up", "down", "pageup", "pagedown", "home", "end")

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__()
        self._commands = commands

    def compose(self) -> ComposeResult:
        """Every command that has a key to show."""
        text = Text.assemble(ABOUT, "\n")
        room = max(LEAST, min(WIDTH, self.app.size.width) - AROUND - KEYS)
        for command in self._commands:
            if command.shown:
                text.append(f"\n{command.shown:<{KEYS - 1}} ", "bold")
                text.append(("\n" + " " * KEYS).join(textwrap.wrap(command.help, room)))
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_subtitle = CLOSING
            if self.app.size.width < WIDTH + FRINGE:
                dialog.styles.width = "100%"  # a fringe of what is behind tells nothing
            yield Static(text, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Close, unless the key scrolls or leaves."""
        if event.key not in (*self.SCROLLING, "ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss()

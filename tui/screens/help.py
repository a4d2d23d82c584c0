"""The help: every command of a screen with its key, by group."""

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
    "Sweeps keep running when you leave or lose the connection.",
    "A configuration has the same marker and colour in every pane.",
)
CLOSING = "arrows scroll, any other key closes"
LAST = "Everywhere"
KEYS = 12
WIDTH, AROUND, LEAST, FRINGE = 76, 7, 20, 10
"""Columns of the dialog, of its border and padding, of the shortest line, and at its sides."""


class Help(Dialog[None]):
    """The help dialog: arrows scroll, any other key closes it."""

    CSS_PATH = "dialog.tcss"
    SCROLLING = ("up", "down", "pageup", "pagedown", "home", "end")

    def __init__(self, commands: Sequence[Command], pane: str = "") -> None:
        super().__init__()
        self._commands, self._pane = commands, pane

    def compose(self) -> ComposeResult:
        """Yield all commands that have a key to show, under the headings of their groups."""
        columns = min(WIDTH, self.app.size.width) - AROUND
        text = Text()
        room = max(LEAST, columns - KEYS)
        for group, commands in grouped(self._commands, self._pane).items():
            text.append("\n\n" if text else "")
            text.append(group, "bold")
            for command in commands:
                text.append(f"\n{command.shown:<{KEYS - 1}} ", "bold")
                text.append(("\n" + " " * KEYS).join(textwrap.wrap(command.help, room)))
        about = "\n".join(textwrap.fill(line, max(LEAST, columns)) for line in ABOUT)
        text.append(f"\n\n{about}")
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_subtitle = CLOSING
            if self.app.size.width < WIDTH + FRINGE:
                dialog.styles.width = "100%"  # no narrow strip of the screen behind
            yield Static(text, markup=False)

    def on_click(self) -> None:
        """Close."""
        self.dismiss()

    def on_key(self, event: events.Key) -> None:
        """Close, unless the key scrolls or leaves the app."""
        if event.key not in (*self.SCROLLING, "ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss()


def grouped(commands: Sequence[Command], pane: str = "") -> dict[str, list[Command]]:
    """Return the commands that have a key to show by group.

    The keys of the current pane are first, those of the other panes after the rest of a screen.
    """
    shown = [command for command in commands if command.shown]
    first = {command.group for command in shown if pane and command.pane == pane}
    shown.sort(
        key=lambda each: (each.group not in first, each.group == LAST, each.pane is not None)
    )
    return {
        group: [command for command in shown if command.group == group]
        for group in dict.fromkeys(command.group for command in shown)
    }

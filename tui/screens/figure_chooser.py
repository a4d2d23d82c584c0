"""A dialog to choose a metric by name, from a list that typing filters."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from batchscope.tui.render.styled_text import row
from batchscope.tui.screens.dialog import Dialog
from batchscope.tui.widgets.field import Field
from batchscope.tui.widgets.key_hints import KeyLine
from batchscope.tui.widgets.list_picker import Item, Picker

ROWS, AROUND = 12, 9
"""The most rows of the list, and the rows of the dialog around it."""


class FigureChooser(Dialog[str | None]):
    """A list of metrics with the current one selected; returns the name of the chosen one."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "cancel", "Cancel"),
        ("enter", "choose", "Choose"),
        ("up", "move(-1)", "Up"),
        ("down", "move(1)", "Down"),
        ("pageup", "move(-10)", "Page up"),
        ("pagedown", "move(10)", "Page down"),
    ]

    def __init__(self, title: str, names: Sequence[str], current: str) -> None:
        super().__init__()
        self._title, self._names, self._current = title, names, current

    def compose(self) -> ComposeResult:
        """Yield the title, the field, the list and the keys."""
        with Vertical(classes="dialog list"):
            yield Static(Text(self._title, "bold"), markup=False)
            yield Field(placeholder="type to search", compact=True)
            yield Picker(id="figures")
            yield KeyLine(("enter", "enter", "show"), ("escape", "esc", "cancel"))

    def on_mount(self) -> None:
        """Offer all metrics, with the cursor on the current one."""
        field = self.query_one(Field)
        field.cursor_blink = False
        field.focus()
        self._offer("")
        self.query_one(Picker).choose(self._current)

    def on_resize(self) -> None:
        """Make the list as high as there are metrics and room."""
        height = min(ROWS, len(self._names), self.app.size.height - AROUND)
        self.query_one(Picker).styles.height = max(1, height)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Offer the metrics that the typed words describe, the cursor on the nearest one."""
        self._offer(event.value)

    @on(Input.Submitted)
    @on(Picker.Chosen)
    def action_choose(self) -> None:
        """Close with the metric under the cursor, if there is one."""
        key = self.query_one(Picker).key
        if key:
            self.dismiss(key)

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self.query_one(Picker).move(step)

    def action_cancel(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def _offer(self, typed: str) -> None:
        found = matching(self._names, typed)
        picker = self.query_one(Picker)
        picker.offer(
            [Item(row(name), name, name == self._current) for name in found]
            or [Item(row(("   no metric has this in its name", "dim")))]
        )
        if typed and found:
            picker.choose(found[0])


def matching(names: Sequence[str], typed: str) -> list[str]:
    """Return the names that hold all typed words, first those where a word begins so.

    A slash before the words, the key that searches elsewhere, counts for nothing.
    """
    words = typed.lower().lstrip("/").replace("_", " ").split()
    found = [name for name in names if all(word in name.lower() for word in words)]
    if not words:
        return found

    def rank(name: str) -> int:
        lower = name.lower()
        if lower.startswith(words[0]):
            return 0
        return 1 if f" {words[0]}" in lower else 2

    return sorted(found, key=rank)

"""A dialog that asks for one line of text and stays open until the text is valid."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from batchscope.engine.errors import Problem, printable
from batchscope.tui.screens.dialog import Dialog
from batchscope.tui.widgets.field import Field
from batchscope.tui.widgets.key_hints import KeyLine
from batchscope.tui.widgets.rows_widget import is_open


class TextPrompt(Dialog[str | None]):
    """A field for one line; returns the text, or None if it was cancelled.

    `check` runs in a thread and raises `Problem` if a text is not valid.
    """

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Cancel")]

    def __init__(
        self, title: str, about: str, text: str, verb: str, check: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._about = Text.assemble((title, "bold"), "\n", about, "\n")
        self._keys = KeyLine(("enter", "enter", verb), ("escape", "esc", "cancel"))
        self._text, self._check = text, check

    def compose(self) -> ComposeResult:
        """Yield the request, the field, the error and the two keys."""
        field = Field(self._text, id="asked", select_on_focus=False, compact=True)
        field.cursor_blink = False
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static(self._about, markup=False)
            yield field
            yield Static("", id="refused", markup=False)
            yield self._keys

    def on_mount(self) -> None:
        """Put the focus into the field."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def typed(self) -> None:
        """Clear the error, which may no longer apply."""
        self._refuse("")

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Check the text."""
        self._take(event.value)

    @work(exclusive=True)
    async def _take(self, text: str) -> None:
        try:
            await asyncio.to_thread(self._check, text)
        except Problem as problem:
            if is_open(self):
                self._refuse(str(problem))
            return
        self.dismiss(text)

    def action_cancel(self) -> None:
        """Close without a text."""
        self.dismiss(None)

    def _refuse(self, why: str) -> None:
        self.query_one("#refused", Static).update(f"\n✗ {printable(why)}" if why else "")

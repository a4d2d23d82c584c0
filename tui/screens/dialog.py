"""Dialogs over the other screens: a message, and a yes-or-no question."""

from typing import TypeVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from batchscope.tui.widgets.key_hints import KeyLine

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A dialog that closes only itself, even if keys arrive before the next screen is shown."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close the dialog, unless another screen is on top: Textual would close that one."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class MessageDialog(Dialog[None]):
    """A message; any key closes it."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, title: str, message: str, bad: bool = True) -> None:
        super().__init__()
        self._title, self._message, self._bad = title, message, bad

    def compose(self) -> ComposeResult:
        """Yield title, message and the key that closes it."""
        text = Text.assemble(
            (self._title, "bold"), "\n\n", self._message, "\n\n", ("any key closes", "dim")
        )
        with VerticalScroll(classes="dialog bad" if self._bad else "dialog"):
            yield Static(text, markup=False)

    def on_click(self) -> None:
        """Close."""
        self.dismiss()

    def on_key(self, event: events.Key) -> None:
        """Close; the keys that leave the app still leave it."""
        if event.key not in ("ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss()


class ConfirmDialog(Dialog[bool]):
    """A question before something that cannot be undone; returns whether the answer was yes."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, question: str, consequence: str, yes: str, no: str) -> None:
        super().__init__()
        self._text = Text.assemble(
            (question, "bold"),
            "\n",
            consequence,
            "\n",
        )
        self._keys = KeyLine(("y", "y", yes), ("n", "n", no))

    def compose(self) -> ComposeResult:
        """Yield the question and the two keys."""
        with VerticalScroll(classes="dialog"):
            yield Static(self._text, markup=False)
            yield self._keys

    def on_key(self, event: events.Key) -> None:
        """Take y as yes, n and escape as no; ignore other keys."""
        if event.key in ("y", "Y", "n", "N", "escape"):
            event.stop()
            self.dismiss(event.key in ("y", "Y"))

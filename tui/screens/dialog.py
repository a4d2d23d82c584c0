"""Small screens over the others: a message, a question, the help."""

from typing import TypeVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A dialog that closes nothing but itself, also where keys come faster than screens."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close, unless it is closed already or something lies over it: that would go instead."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class MessageDialog(Dialog[None]):
    """One clear message; any key goes on."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, title: str, message: str, bad: bool = True) -> None:
        super().__init__()
        self._title, self._message, self._bad = title, message, bad

    def compose(self) -> ComposeResult:
        """Title, message, how to go on."""
        text = Text.assemble(
            (self._title, "bold"), "\n\n", self._message, "\n\n", ("any key: go on", "dim")
        )
        with VerticalScroll(classes="dialog bad" if self._bad else "dialog"):
            yield Static(text, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Close, but let the keys that leave the app do so."""
        if event.key not in ("ctrl+c", "ctrl+q"):
            event.stop()
            self.dismiss()


class ConfirmDialog(Dialog[bool]):
    """A yes or a no to what cannot be undone."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, question: str, consequence: str, yes: str, no: str) -> None:
        super().__init__()
        self._text = Text.assemble(
            (question, "bold"),
            "\n",
            consequence,
            "\n\n",
            ("y", "bold"),
            f" {yes}   ",
            ("n", "bold"),
            f" {no}",
        )

    def compose(self) -> ComposeResult:
        """The question and the two keys."""
        with VerticalScroll(classes="dialog"):
            yield Static(self._text, markup=False)

    def on_key(self, event: events.Key) -> None:
        """y is yes; n and escape are no; other keys leave the question standing."""
        if event.key in ("y", "Y", "n", "N", "escape"):
            event.stop()
            self.dismiss(event.key in ("y", "Y"))

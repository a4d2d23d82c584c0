"""Asks for one more batch size, and says with every key whether it can be had."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

ASKED = "type a whole number; enter adds it, escape leaves the sweep as it is"
LONGEST = 12


@dataclass(frozen=True, slots=True)
class AdditionPreview:
    """What adding a size would do, or why it cannot be added."""

    possible: bool
    text: str


class AddBatchSize(ModalScreen[int | None]):
    """A field for a whole number; closes with it, or with None."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, check: Callable[[int], AdditionPreview]) -> None:
        super().__init__()
        self._check = check

    def compose(self) -> ComposeResult:
        """Title, field, and what would come of it."""
        with VerticalScroll(classes="dialog"):
            yield Static(Text("Add a batch size", "bold"), markup=False)
            yield Static(
                "Every other setting of the grid is run with it, for all seeds.", markup=False
            )
            yield Input(id="size", max_length=LONGEST, compact=True)
            yield Static(ASKED, id="answer", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one("#size", Input).focus()

    @on(Input.Changed, "#size")
    def judge(self, event: Input.Changed) -> None:
        """Say what the number typed so far would do."""
        answer = self._answer(event.value)
        self.query_one("#answer", Static).update(Text(answer.text))

    @on(Input.Submitted, "#size")
    def add(self, event: Input.Submitted) -> None:
        """Close with the number, if it can be had."""
        if self._answer(event.value).possible:
            self.dismiss(int(event.value))

    def on_key(self, event: events.Key) -> None:
        """Escape changes nothing."""
        if event.key == "escape":
            event.stop()
            self.dismiss(None)

    def _answer(self, typed: str) -> AdditionPreview:
        text = typed.strip()
        if not text:
            return AdditionPreview(False, ASKED)
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            return AdditionPreview(False, "✗ a batch size is a whole number of at least 1")
        answer = self._check(int(text))
        return AdditionPreview(answer.possible, f"{'✓' if answer.possible else '✗'} {answer.text}")

"""A dialog that asks for a batch size to add, and checks it while it is typed."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from batchscope.tui.widgets.field import Field

ASKED = "Type a whole number. enter adds it, esc cancels."
LONGEST = 12


@dataclass(frozen=True, slots=True)
class AdditionPreview:
    """Whether a batch size can be added, and what that would run or why not."""

    possible: bool
    text: str


class AddBatchSize(ModalScreen[int | None]):
    """A field for a whole number; returns it, or None if it was cancelled."""

    CSS_PATH = "dialog.tcss"

    def __init__(self, check: Callable[[int], AdditionPreview]) -> None:
        super().__init__()
        self._check = check

    def compose(self) -> ComposeResult:
        """Yield title, field and the result of the check."""
        with VerticalScroll(classes="dialog"):
            yield Static(Text("Add a batch size", "bold"), markup=False)
            yield Static(
                "It runs with every combination of the other grid settings, for all seeds.",
                markup=False,
            )
            yield Field(id="size", max_length=LONGEST, compact=True)
            yield Static(ASKED, id="answer", markup=False)

    def on_mount(self) -> None:
        """Put the focus into the field."""
        self.query_one("#size", Input).focus()

    @on(Input.Changed, "#size")
    def judge(self, event: Input.Changed) -> None:
        """Check the number typed so far."""
        answer = self._answer(event.value)
        self.query_one("#answer", Static).update(Text(answer.text))

    @on(Input.Submitted, "#size")
    def add(self, event: Input.Submitted) -> None:
        """Close with the number, if it is valid."""
        if self._answer(event.value).possible:
            self.dismiss(int(event.value))

    def on_key(self, event: events.Key) -> None:
        """Cancel on escape."""
        if event.key == "escape":
            event.stop()
            self.dismiss(None)

    def _answer(self, typed: str) -> AdditionPreview:
        text = typed.strip()
        if not text:
            return AdditionPreview(False, ASKED)
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            return AdditionPreview(False, "✗ A batch size is a whole number of at least 1")
        answer = self._check(int(text))
        return AdditionPreview(answer.possible, f"{'✓' if answer.possible else '✗'} {answer.text}")

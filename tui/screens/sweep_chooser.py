"""A dialog to select one or more stored sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.tui.render.styled_text import cell, row, spread
from batchscope.tui.render.units import when
from batchscope.tui.screens.dialog import Dialog
from batchscope.tui.screens.menu_entries import NAME, STATE, sweep_key
from batchscope.tui.viewmodel.status_signs import SIGNS
from batchscope.tui.widgets.key_hints import KeyLine
from batchscope.tui.widgets.list_picker import Item, Picker

ROWS = 12
WIDTH, AROUND = 76, 9  # columns of the dialog (as in dialog.tcss); of border and cursor


class SweepChooser(Dialog[list[Path] | None]):
    """A list of sweeps to mark; returns the folders of the marked ones, or None if cancelled.

    If no sweep was marked at first and none is marked now, it returns the one under the cursor.
    """

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "cancel", "Cancel"),
        ("enter", "choose", "Choose"),
        ("space", "mark", "Mark"),
        ("up,k", "move(-1)", "Up"),
        ("down,j", "move(1)", "Down"),
        ("pageup", "move(-10)", "Page up"),
        ("pagedown", "move(10)", "Page down"),
        ("home", "move(-1000000)", "First"),
        ("end", "move(1000000)", "Last"),
    ]

    def __init__(self, title: str, sweeps: Sequence[StoredSweep], marked: set[str]) -> None:
        super().__init__()
        self._title, self._sweeps = title, sweeps
        self._before, self._marked = frozenset(marked), set(marked)

    def compose(self) -> ComposeResult:
        """Yield the title, the list and the keys."""
        with Vertical(classes="dialog list"):
            yield Static(Text(self._title, "bold"), markup=False)
            yield Picker(id="sweeps")
            yield KeyLine(
                ("enter", "enter", "overlay"),
                ("space", "space", "mark"),
                ("escape", "esc", "cancel"),
            )

    def on_mount(self) -> None:
        """Make the list as high as there are sweeps, up to `ROWS`."""
        picker = self.query_one(Picker)
        picker.styles.height = min(ROWS, len(self._sweeps))
        self._offer()

    def on_resize(self) -> None:
        """Fit the lines to the dialog."""
        self._offer()

    def _offer(self) -> None:
        picker = self.query_one(Picker)
        width = min(WIDTH, self.app.size.width) - AROUND
        picker.offer([_item(sweep, width, sweep.id in self._marked) for sweep in self._sweeps])

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self.query_one(Picker).move(step)

    def action_mark(self) -> None:
        """Mark or unmark the sweep under the cursor."""
        sweep = self._chosen()
        if sweep:
            self._marked ^= {sweep.id}
            self._offer()

    @on(Picker.Chosen)
    def action_choose(self) -> None:
        """Close with the marked sweeps."""
        sweep, marked = self._chosen(), self._marked
        if not marked and not self._before and sweep:
            marked = {sweep.id}
        self.dismiss([Path(s.folder) for s in self._sweeps if s.id in marked])

    def action_cancel(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def _chosen(self) -> StoredSweep | None:
        key = self.query_one(Picker).key
        return next((sweep for sweep in self._sweeps if sweep_key(sweep) == key), None)


def _item(sweep: StoredSweep, width: int, marked: bool) -> Item:
    """Return the line of a sweep: as in the menu, but shorter."""
    sign, style = SIGNS.get(sweep.state, ("·", "dim"))
    left = row(
        cell(sweep.preset, NAME, "strong"),
        " ",
        cell(f"{sign} {sweep.state}", STATE, style),
        " ",
        (when(sweep.id), "dim"),
    )
    right = row((f"{sweep.finished}/{sweep.trials} trials", "dim"))
    return Item(spread(left, right, width), sweep_key(sweep), marked)

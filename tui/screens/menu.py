"""The menu: presets to launch and stored sweeps to open, with a preview of the chosen one."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen

from engine.catalog import StoredSweep, stored_sweeps
from engine.problems import printable
from tui import entries
from tui.commands import bindings, commands_at
from tui.hints import hints
from tui.picker import Item, Picker
from tui.rows import EMPTY, Row, row, spread
from tui.widget import Rows

if TYPE_CHECKING:
    from tui.app import BatchscopeApp

LOW = 18
AGAIN_SECONDS = 3.0
MARGIN = 3


class MenuScreen(Screen[None]):
    """Presets are there at once; stored sweeps come in as their journals have been read."""

    CSS_PATH = "menu.tcss"
    BINDINGS = bindings("menu")
    AUTO_FOCUS = None

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self._offers = entries.offers()
        self._stored: list[StoredSweep] | None = None
        self._said = ""

    def compose(self) -> ComposeResult:
        """Title, list, preview, keys."""
        yield Rows(id="menu-title")
        yield Picker(id="picker")
        yield Rows(id="preview")
        yield Rows(id="menu-hints")

    def on_mount(self) -> None:
        """Look for stored sweeps, again and again: some may be running."""
        self.run_worker(self._look(), name="stored sweeps", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """The rows are as wide as the screen."""
        self.set_class(event.size.height < LOW, "-low")
        self.call_after_refresh(self._draw)

    async def _look(self) -> None:
        while True:
            found = await asyncio.to_thread(stored_sweeps, self._home)
            if found != self._stored:
                self._stored = found
                self._draw()
            await asyncio.sleep(AGAIN_SECONDS)

    def _draw(self) -> None:
        picker = self.query_one(Picker)
        picker.offer(self._items(self.size.width - 2 * MARGIN))
        asked = "what does batch size do to my training?"
        title = row((" batchscope", "accent"), " ▸ ", asked)
        self.query_one("#menu-title", Rows).show([spread(title, self._counted(), self.size.width)])
        self._draw_choice()

    def _counted(self) -> Row:
        """How many sweeps are stored: below a long list of experiments none may be in sight."""
        stored = self._stored or []
        if not stored:
            return ()
        running = sum(sweep.state == "running" for sweep in stored)
        some = f"{len(stored)} stored sweep{'s' if len(stored) > 1 else ''}"
        return row((f"{some}, {running} running" if running else some, "dim"), ("  end ", "key"))

    def _items(self, width: int) -> list[Item]:
        stored = self._stored or []
        items = [Item(row((" experiments", "dim")))]
        items += [entries.preset_item(offer, stored, width) for offer in self._offers]
        items += [Item(EMPTY), Item(row((" stored sweeps", "dim")))]
        items += [entries.sweep_item(sweep, width) for sweep in stored]
        if not stored:
            none = "looking…" if self._stored is None else "none yet: enter launches the first"
            items.append(Item(row(("   " + none, "dim"))))
        return items

    def _draw_choice(self) -> None:
        width = self.size.width
        inner = max(1, width - 2 * MARGIN)
        rule = row(("─" * width, "frame"))
        lines = [row(" " * MARGIN, *line) for line in self._preview(inner)]
        self.query_one("#preview", Rows).show([rule, *lines])
        self.query_one("#menu-hints", Rows).show([self._hints(width)])

    def _preview(self, width: int) -> list[Row]:
        offer, sweep = self._offer(), self._sweep()
        if offer:
            return entries.preset_preview(offer, self._stored or [], width)
        return entries.sweep_preview(sweep, width) if sweep else []

    def _hints(self, width: int) -> Row:
        if self._said:
            return row((f" {self._said}", "accent"))
        return hints(commands_at("menu"), row((" ↑ ↓", "key"), (" choose", "dim")), width)

    def _offer(self) -> entries.Offer | None:
        key = self.query_one(Picker).key
        return next((o for o in self._offers if key == f"preset:{o.name}"), None)

    def _sweep(self) -> StoredSweep | None:
        key = self.query_one(Picker).key
        return next((s for s in self._stored or [] if key == f"sweep:{s.id}"), None)

    def _say(self, text: str) -> None:
        self._said = text
        self._draw_choice()

    def on_key(self, event: events.Key) -> None:
        """The last answer has been read; a key that does nothing says so."""
        if event.key not in self.active_bindings:
            self._say(
                f"{printable(event.character or event.key)} does nothing here; ? shows the keys"
            )
        elif self._said:
            self._say("")

    def on_picker_moved(self) -> None:
        """Another preview."""
        self._draw_choice()

    def on_picker_chosen(self) -> None:
        """A click on the chosen item."""
        self.action_choose()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if not self.query_one(Picker).move(step):
            self._say("the list ends here")

    def action_choose(self) -> None:
        """Launch the preset or open the sweep."""
        app = cast("BatchscopeApp", self.app)
        offer, sweep = self._offer(), self._sweep()
        if offer and offer.preset:
            app.launch(offer.preset)
        elif offer:
            from tui.screens.dialog import Message

            app.push_screen(Message(f"{offer.name} cannot be used", offer.problem))
        elif sweep:
            app.open_sweep(Path(sweep.folder))

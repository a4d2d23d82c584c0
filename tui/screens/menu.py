"""The menu: presets to launch and stored sweeps to open, with a preview of the chosen one."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.widgets import Input

from batchscope.engine.errors import Problem, printable
from batchscope.engine.sweeps.listing import Listing, StoredSweep
from batchscope.tui.config.commands import Command, bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.render.styled_text import EMPTY, Row, row, spread
from batchscope.tui.screens import menu_entries, menu_previews
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.sweep_actions import delete_all, delete_question
from batchscope.tui.widgets.idle_field import IdleField
from batchscope.tui.widgets.key_hints import CHOOSING, hints
from batchscope.tui.widgets.list_picker import Item, Picker
from batchscope.tui.widgets.rows_widget import Rows, stands

LOW, TALL, WIDE = 18, 34, 120
AGAIN_SECONDS = 3.0
MARGIN = 3
ENTERS = {"preset": "launch", "sweep": "open", "": ""}
ASKED = "what does batch size do to my training?"


class MenuScreen(AnsweringScreen):
    """Presets are there at once; stored sweeps come in as their journals have been read."""

    PLACE = "menu"
    CSS_PATH = "menu.tcss"
    BINDINGS = bindings("menu")

    def __init__(self, listing: Listing, limit: int | None = None) -> None:
        super().__init__()
        self._listing, self._limit = listing, limit
        self._offers = menu_entries.offers()
        self._stored: list[StoredSweep] | None = None
        self._marked: frozenset[str] = frozenset()
        self._query = ""

    def compose(self) -> ComposeResult:
        """Title, filter, list, preview, keys."""
        yield Rows(id="menu-title")
        with Horizontal(id="menu-filter"):
            yield Rows(id="filter-sign")
            yield IdleField("filter", "words of a name, question, group, id, state")
            yield Rows(id="filter-count")
        with Container(id="menu-body"):
            yield Picker(id="picker")
            yield Rows(id="preview")
        yield Rows(id="menu-hints")

    def on_mount(self) -> None:
        """Look for stored sweeps, again and again: some may be running."""
        self.batchscope.entitle("batchscope")
        self.run_worker(self._look(), name="stored sweeps", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """The rows are as wide as the screen; a wide one has the preview beside the list."""
        wide = event.size.width >= WIDE
        self.set_class(wide, "-wide")
        self.set_class(event.size.height < LOW and not wide, "-low")
        self.set_class(event.size.height >= TALL, "-tall")
        self.call_after_refresh(self._draw)

    async def _look(self) -> None:
        while True:
            await self._look_once()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _look_once(self) -> None:
        sweeps = await asyncio.to_thread(self._listing.look)
        if sweeps != self._stored:
            self._stored = sweeps
            self._marked &= {sweep.id for sweep in sweeps}
            self._draw()

    # Drawing

    def _draw(self) -> None:
        if not stands(self):
            return
        picker = self.query_one(Picker)
        picker.offer(self._items((picker.size.width or self.size.width) - 2 * MARGIN))
        title = row((" batchscope", "accent"), " ▸ ", ASKED)
        self._lines("menu-title").show([spread(title, self._counted(), self.size.width)])
        self._draw_filter()
        self._draw_choice()

    def _draw_filter(self) -> None:
        offers, sweeps = self._hits()
        count = f"{len(offers)} of {len(self._offers)} experiments"
        if self._stored:
            count += f", {len(sweeps)} of {len(self._stored)} sweeps"
        width = self._lines("filter-count").size.width
        self._lines("filter-sign").show([row((" / ", "key"))])
        self._lines("filter-count").show([spread(EMPTY, row((count, "dim"), " "), width)])

    def _counted(self) -> Row:
        """How many sweeps are stored: below a long list of experiments none may be in sight."""
        stored = self._stored or []
        if not stored:
            return ()
        running = sum(sweep.state == "running" for sweep in stored)
        some = f"{len(stored)} stored sweep{'s' if len(stored) > 1 else ''}"
        marked = row((f"{len(self._marked)} marked  ", "accent")) if self._marked else EMPTY
        counts = f"{some}, {running} running" if running else some
        return row(*marked, (counts, "dim"), ("  end", "key"), (" goes there ", "dim"))

    def _hits(self) -> tuple[list[menu_entries.Offer], list[StoredSweep]]:
        """Presets and sweeps that the filter leaves."""
        return (
            [offer for offer in self._offers if menu_entries.matches(offer.words, self._query)],
            [
                sweep
                for sweep in self._stored or []
                if menu_entries.matches(menu_entries.sweep_words(sweep), self._query)
            ],
        )

    def _items(self, width: int) -> list[Item]:
        offers, sweeps = self._hits()
        items = menu_entries.items(offers, sweeps, self._stored or [], self._marked, width)
        if self._query.strip() and not items:
            nothing = f" nothing holds “{printable(self._query.strip())}”; esc shows all"
            return [Item(row((nothing, "warn")))]
        if not self._stored and not self._query.strip():
            none = "looking…" if self._stored is None else "none yet: enter launches the first"
            items += [Item(EMPTY), Item(row((" stored sweeps", "dim")))]
            items.append(Item(row(("   " + none, "dim"))))
        return items

    def _draw_choice(self) -> None:
        if not stands(self):
            return
        width = self.size.width
        size = self._lines("preview").size
        inner = max(1, size.width - 2 * MARGIN)
        if self.has_class("-wide"):
            lines = [EMPTY, *self._preview(inner, size.height - 2)]
            lines += [EMPTY] * (size.height - len(lines))
            shown = [row(("│", "frame"), " " * (MARGIN - 1), *line) for line in lines]
        else:
            rows = self._preview(inner, size.height - 1)
            shown = [row(("─" * width, "frame")), *(row(" " * MARGIN, *line) for line in rows)]
        self._lines("preview").show(shown)
        self._lines("menu-hints").show([self._hints(width)])

    def _preview(self, width: int, height: int) -> list[Row]:
        offer, sweep = self._offer(), self._sweep()
        if offer:
            return menu_previews.preset_preview(
                offer, self._stored or [], self._limit, width, height
            )
        return menu_previews.sweep_preview(sweep, width) if sweep else []

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        if self.typing:
            return row(
                (" enter", "key"), (" keep the filter", "dim"), ("  esc", "key"),
                (" show all", "dim"), ("  ↑ ↓", "key"), (" choose", "dim"),
            )  # fmt: skip
        return hints(self._fitting(), CHOOSING, width)

    def _fitting(self) -> list[Command]:
        """The commands that what is chosen is fit for."""
        sweep = self._sweep()
        kind = "sweep" if sweep else "preset" if self._offer() else ""
        return [
            replace(command, hint=ENTERS[kind]) if command.action == "choose" else command
            for command in commands_at("menu", self.batchscope.settings.keys)
            if command.of in ("", kind)
            and (command.action != "resume" or (sweep and _resumable(sweep)))
            and (command.action != "compare" or self._marked)
        ]

    # What is chosen and typed

    @property
    def typing(self) -> bool:
        """Whether keys go into the filter."""
        return self.query_one(IdleField).has_focus

    def _offer(self) -> menu_entries.Offer | None:
        key = self.query_one(Picker).key
        return next((offer for offer in self._offers if key == offer.key), None)

    def _sweep(self) -> StoredSweep | None:
        key = self.query_one(Picker).key
        return next((s for s in self._stored or [] if key == menu_entries.sweep_key(s)), None)

    def _marked_sweeps(self) -> list[StoredSweep]:
        return [sweep for sweep in self._stored or [] if sweep.id in self._marked]

    def say(self, text: str) -> None:
        """Answer a key that changed nothing else, until the next one."""
        self._said = text
        self._draw_choice()

    def on_picker_moved(self) -> None:
        """Another preview."""
        self._draw_choice()

    def on_picker_chosen(self) -> None:
        """A click on the chosen item."""
        self.action_choose()

    @on(Input.Changed, "#filter")
    def narrow(self, event: Input.Changed) -> None:
        """Fewer or more hits with every character."""
        self._query, self._said = event.value, ""
        self._draw()

    @on(Input.Submitted, "#filter")
    def keep(self) -> None:
        """Back to the list, with the filter as it is; an empty one goes."""
        self._leave_field()

    # What the keys do

    def action_filter(self) -> None:
        """Type into the filter."""
        self.add_class("-filtered")
        self.query_one(IdleField).enter()
        self.call_after_refresh(self._draw)

    def action_show_all(self) -> None:
        """Clear the filter and leave its field; without one, take the marks away."""
        if not self._query and not self.typing:
            if self._marked:
                self._marked = frozenset()
                self._draw()
            else:
                self.say("everything is shown already")
            return
        self.query_one(IdleField).value = self._query = ""
        self._leave_field()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if not self.query_one(Picker).move(step):
            self.say("the list ends here")

    def action_choose(self) -> None:
        """Launch the preset or open the sweep."""
        offer, sweep = self._offer(), self._sweep()
        if offer and offer.preset:
            self.batchscope.launch(offer.preset)
        elif offer:
            self.app.push_screen(MessageDialog(f"{offer.name} cannot be used", offer.problem))
        elif sweep:
            self.batchscope.open_sweep(Path(sweep.folder))
        else:
            self.say("nothing is chosen; esc shows all")

    def action_edit(self) -> None:
        """Change the settings of the preset."""
        offer = self._offer()
        if offer is None or offer.preset is None:
            why = (
                "cannot be used" if offer else "is no experiment" if self._sweep() else "is nothing"
            )
            self.say(f"nothing to edit: what is chosen {why}")
            return
        from batchscope.engine.experiment.draft import Draft
        from batchscope.tui.screens.edit import EditScreen

        try:
            draft = Draft(offer.path)
        except Problem as problem:
            self.app.push_screen(MessageDialog(f"{offer.name} cannot be edited", str(problem)))
            return
        self.app.push_screen(EditScreen(offer.name, draft))

    def action_mark(self) -> None:
        """Mark the sweep, or take its mark away."""
        sweep = self._sweep()
        if sweep is None:
            self.say("only stored sweeps can be marked")
            return
        self._marked ^= {sweep.id}
        self._draw()

    def action_compare(self) -> None:
        """Open the marked sweeps over each other, or the chosen one and the only marked one."""
        one, chosen = self._sweep(), self._marked_sweeps()
        if one and (one in chosen or len(chosen) == 1):
            chosen = [one, *(sweep for sweep in chosen if sweep != one)]
        if len(chosen) < 2:
            self.say("mark sweeps with space first: o lays their curves over each other")
        else:
            self.batchscope.open_comparison([Path(sweep.folder) for sweep in chosen])

    def action_resume(self) -> None:
        """Start a conductor where none lives."""
        sweep = self._sweep()
        if sweep is None:
            self.say("nothing to resume: no stored sweep is chosen")
        elif sweep.alive:
            self.say(f"it is {sweep.state} already; enter returns to its board")
        elif not _resumable(sweep):
            self.say(f"nothing to resume: the sweep is {sweep.state}")
        else:
            self.say("starting a conductor…")
            self._resume(sweep)

    @work(group="resume")
    async def _resume(self, sweep: StoredSweep) -> None:
        try:
            await asyncio.to_thread(self.batchscope.conduct, Path(sweep.folder))
        except (Problem, OSError) as problem:
            self.say("")
            self.app.push_screen(
                MessageDialog("The sweep could not be resumed", printable(problem))
            )
            return
        self.batchscope.visited.append(Path(sweep.folder))
        await self._look_once()
        self.say(f"{printable(sweep.id)} goes on; enter shows its board")

    def action_export(self) -> None:
        """Write the sweep's files into a folder."""
        sweep = self._sweep()
        if sweep is None:
            self.say("nothing to export: no stored sweep is chosen")
        else:
            from batchscope.tui.screens.sweep_actions import ask_export

            ask_export(self, Path(sweep.folder), self.say)

    def action_delete(self) -> None:
        """Delete the marked sweeps or the chosen one, after a question."""
        one = self._sweep()
        doomed = self._marked_sweeps() or ([one] if one else [])
        running = [sweep for sweep in doomed if sweep.alive]
        if not doomed:
            self.say("nothing to delete: no stored sweep is chosen")
        elif running:
            self.say(f"{printable(running[0].id)} is running; stop it on its board first")
        else:
            self.app.push_screen(delete_question(doomed), partial(self._answered, doomed))

    def _answered(self, doomed: list[StoredSweep], yes: bool | None) -> None:
        if yes:
            self.say("deleting…")
            self._delete(doomed)
        else:
            self.say("nothing was deleted")

    @work(group="delete")
    async def _delete(self, doomed: list[StoredSweep]) -> None:
        gone, problems = await asyncio.to_thread(delete_all, doomed)
        await self._look_once()
        self.say(f"{gone} sweep{'s' * (gone != 1)} deleted")
        if problems:
            self.app.push_screen(MessageDialog("Not everything was deleted", "\n".join(problems)))

    def _leave_field(self) -> None:
        self.query_one(IdleField).leave()
        self.set_class(bool(self._query.strip()), "-filtered")
        self.call_after_refresh(self._draw)


def _resumable(sweep: StoredSweep) -> bool:
    return not sweep.alive and sweep.state != "finished"

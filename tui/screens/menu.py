"""The menu: presets to launch and stored sweeps to open, with a preview of the selected one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.widgets import Input

from batchscope.engine.errors import Problem, printable
from batchscope.engine.sweeps.listing import Listing, StoredSweep
from batchscope.engine.sweeps.trust import sweep_question
from batchscope.tui.config.commands import Command, bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.render.styled_text import EMPTY, Row, row, spread
from batchscope.tui.screens import menu_entries, menu_previews
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.sweep_actions import delete_all, delete_question
from batchscope.tui.screens.trust_dialog import ask_trust
from batchscope.tui.widgets.idle_field import IdleField
from batchscope.tui.widgets.key_hints import CHOOSING, hint_targets, hints
from batchscope.tui.widgets.list_picker import Item, Picker
from batchscope.tui.widgets.rows_widget import Rows, is_open

LOW, TALL, WIDE = 18, 34, 120
AGAIN_SECONDS = 3.0
MARGIN = 3
TYPING = (
    Command("enter", "enter", "", "keep filter", "", "", "menu"),
    Command("escape", "esc", "", "clear", "", "", "menu"),
    Command("down", "↑ ↓", "", "select", "", "", "menu"),
)
"""The keys while the filter has the focus."""
ENTERS = {"preset": "launch", "sweep": "open", "": ""}
QUESTION = "what does batch size do to my training?"


class MenuScreen(AnsweringScreen):
    """The list of presets and stored sweeps; sweeps appear once their journals are read."""

    PLACE = "menu"
    CSS_PATH = "menu.tcss"
    BINDINGS = bindings("menu")

    def __init__(
        self,
        listing: Listing,
        limit: int | None = None,
        current: Path | None = None,
        personal: Path | None = None,
    ) -> None:
        super().__init__()
        self._listing, self._limit = listing, limit
        self._folders = current, personal
        self._stamps = menu_entries.stamps(*self._folders)
        self._offers = menu_entries.offers(*self._folders)
        self._code: dict[str, str] = {}
        self._stored: list[StoredSweep] | None = None
        self._marked: frozenset[str] = frozenset()
        self._query = ""

    def compose(self) -> ComposeResult:
        """Yield title, filter, list, preview and keys."""
        yield Rows(id="menu-title")
        with Horizontal(id="menu-filter"):
            yield Rows(id="filter-sign")
            yield IdleField("filter", "words of name, question, group, id, state")
            yield Rows(id="filter-count")
        with Container(id="menu-body"):
            yield Picker(id="picker")
            yield Rows(id="preview")
        yield Rows(id="menu-hints")

    def on_mount(self) -> None:
        """Start to look for stored sweeps every few seconds: some may be running."""
        self.batchscope.entitle("batchscope")
        self.run_worker(self._look(), name="stored sweeps", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the rows to the screen; a wide screen shows the preview next to the list."""
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
        stamps = await asyncio.to_thread(menu_entries.stamps, *self._folders)
        self._code = {}  # a folder may have been trusted elsewhere
        if stamps != self._stamps:
            self._stamps = stamps
            self._offers = await asyncio.to_thread(menu_entries.offers, *self._folders)
            self._draw()
        if sweeps != self._stored:
            self._stored = sweeps
            self._marked &= {sweep.id for sweep in sweeps}
            self._draw()

    # Drawing

    def _draw(self) -> None:
        if not is_open(self):
            return
        picker = self.query_one(Picker)
        picker.offer(self._items((picker.size.width or self.size.width) - 2 * MARGIN))
        title = row((" batchscope", "accent"), " ▸ ", QUESTION)
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
        """Return how many sweeps are stored: the list may be too long to show any of them."""
        stored = self._stored or []
        if not stored:
            return ()
        running = sum(sweep.state == "running" for sweep in stored)
        some = f"{len(stored)} stored sweep{'s' if len(stored) > 1 else ''}"
        marked = row((f"{len(self._marked)} marked  ", "accent")) if self._marked else EMPTY
        counts = f"{some}, {running} running" if running else some
        return row(*marked, (counts, "dim"), ("  end", "key"), (" jumps there ", "dim"))

    def _hits(self) -> tuple[list[menu_entries.Offer], list[StoredSweep]]:
        """Return the presets and sweeps that match the filter."""
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
            nothing = f" No match for “{printable(self._query.strip())}”. esc clears the filter"
            return [Item(row((nothing, "warn")))]
        if not self._stored and not self._query.strip():
            none = "loading…" if self._stored is None else "none yet. enter launches an experiment"
            items += [Item(EMPTY), Item(row((" stored sweeps", "dim")))]
            items.append(Item(row(("   " + none, "dim"))))
        return items

    def _draw_choice(self) -> None:
        if not is_open(self):
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
        line = self._hints(width)
        self._lines("menu-hints").show([line], hint_targets(line, self._fitting()))

    def _preview(self, width: int, height: int) -> list[Row]:
        offer, sweep = self._offer(), self._sweep()
        if offer:
            return menu_previews.preset_preview(
                offer, self._stored or [], self._limit, width, height, self._code_of(offer)
            )
        return menu_previews.sweep_preview(sweep, width) if sweep else []

    def _code_of(self, offer: menu_entries.Offer) -> str:
        """Return from where a preset runs code and whether that is trusted; empty if it is ours."""
        if offer.preset is None or not offer.preset.task_folder:
            return ""
        if offer.key not in self._code:
            self._code[offer.key] = menu_previews.code_text(self.batchscope.home, offer.preset)
        return self._code[offer.key]

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        return hints(self._fitting(), EMPTY if self.typing else CHOOSING, width)

    def _fitting(self) -> Sequence[Command]:
        """Return the commands that apply to the selected entry, or to the filter."""
        if self.typing:
            return TYPING
        sweep = self._sweep()
        kind = "sweep" if sweep else "preset" if self._offer() else ""
        return [
            replace(command, hint=ENTERS[kind]) if command.action == "choose" else command
            for command in commands_at("menu", self.batchscope.settings.keys)
            if (command.of in ("", kind) or (command.action == "edit" and sweep))
            and (command.action != "resume" or (sweep and menu_entries.resumable(sweep)))
            and (command.action != "compare" or self._marked)
        ]

    # Selection and typing

    @property
    def typing(self) -> bool:
        """Whether the filter has the focus."""
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
        """Show a message in the last line until the next key."""
        self._said = text
        self._draw_choice()

    def on_picker_moved(self) -> None:
        """Show the preview of the selected entry."""
        self._draw_choice()

    def on_picker_resized(self) -> None:
        """Fit the rows to the list: its size may change after that of the screen."""
        self._draw()

    def on_picker_chosen(self) -> None:
        """Launch or open the entry: it was clicked twice."""
        self.action_choose()

    @on(Input.Changed, "#filter")
    def narrow(self, event: Input.Changed) -> None:
        """Filter the list with every character."""
        self._query, self._said = event.value, ""
        self._draw()

    @on(Input.Submitted, "#filter")
    def keep(self) -> None:
        """Go back to the list and keep the filter; hide an empty one."""
        self._leave_field()

    # Keys

    def action_filter(self) -> None:
        """Put the focus into the filter."""
        self.add_class("-filtered")
        self.query_one(IdleField).enter()
        self.call_after_refresh(self._draw)

    def action_show_all(self) -> None:
        """Clear the filter and leave its field; without a filter, clear the marks."""
        if not self._query and not self.typing:
            if self._marked:
                self._marked = frozenset()
                self._draw()
            else:
                self.say("Nothing to clear: no filter and no marks")
            return
        self.query_one(IdleField).value = self._query = ""
        self._leave_field()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if not self.query_one(Picker).move(step):
            self.say("End of the list")

    def action_choose(self) -> None:
        """Launch the selected preset or open the selected sweep."""
        offer, sweep = self._offer(), self._sweep()
        if offer and offer.preset:
            self.batchscope.launch(offer.preset)
        elif offer:
            self.app.push_screen(
                MessageDialog(f"{printable(offer.name)} is invalid", offer.problem)
            )
        elif sweep:
            self.batchscope.open_sweep(Path(sweep.folder))
        else:
            self.say("Nothing is selected. esc clears the filter")

    def action_edit(self) -> None:
        """Open the form with the settings of the selected preset, or of a stored sweep."""
        from batchscope.engine.experiment.draft import Draft
        from batchscope.tui.screens.edit import EditScreen
        from batchscope.tui.screens.sweep_actions import draft_of

        offer, sweep = self._offer(), self._sweep()
        if sweep:
            name, read = printable(sweep.id), partial(draft_of, Path(sweep.folder))
        elif offer and offer.preset:
            name, read = offer.name, partial(Draft, offer.path)
        else:
            self.say(menu_entries.not_editable(offer))
            return
        try:
            draft = read()
        except (Problem, OSError) as problem:
            self.app.push_screen(MessageDialog(f"{name} cannot be edited", printable(problem)))
            return
        self.app.push_screen(EditScreen(name, draft))

    def action_mark(self) -> None:
        """Mark or unmark the selected sweep."""
        sweep = self._sweep()
        if sweep is None:
            self.say("Only stored sweeps can be marked")
            return
        self._marked ^= {sweep.id}
        self._draw()

    def action_compare(self) -> None:
        """Open the marked sweeps in one plot, or the selected one with the only marked one."""
        one, chosen = self._sweep(), self._marked_sweeps()
        if one and (one in chosen or len(chosen) == 1):
            chosen = [one, *(sweep for sweep in chosen if sweep != one)]
        if len(chosen) < 2:
            self.say("Mark two sweeps with space; then o shows their curves in one plot")
        else:
            self.batchscope.open_comparison([Path(sweep.folder) for sweep in chosen])

    def action_resume(self) -> None:
        """Resume the selected sweep, if it does not run and is not finished."""
        sweep = self._sweep()
        if sweep is None:
            self.say("Select a stored sweep to resume it")
        elif sweep.alive:
            self.say(f"The sweep is {sweep.state} already. enter opens its board")
        elif not menu_entries.resumable(sweep):
            self.say(f"Nothing to resume: the sweep is {sweep.state}")
        else:
            question = sweep_question(Path(sweep.folder))
            ask_trust(
                self.app,
                self.batchscope.home,
                question,
                lambda: self._begin_resume(sweep),
                self.say,
            )

    def _begin_resume(self, sweep: StoredSweep) -> None:
        self.say("Resuming…")
        self._resume(sweep)

    @work(group="resume")
    async def _resume(self, sweep: StoredSweep) -> None:
        try:
            await self.batchscope.launches.run(partial(self.batchscope.conduct, Path(sweep.folder)))
        except (Problem, OSError) as problem:
            self.say("")
            self.app.push_screen(
                MessageDialog("The sweep could not be resumed", printable(problem))
            )
            return
        await self._look_once()
        self.say(f"{printable(sweep.id)} is running again. enter opens its board")

    def action_export(self) -> None:
        """Export the selected sweep to a folder."""
        sweep = self._sweep()
        if sweep is None:
            self.say("Select a stored sweep to export it")
        else:
            from batchscope.tui.screens.sweep_actions import ask_export

            ask_export(self, Path(sweep.folder), self.say)

    def action_delete(self) -> None:
        """Delete the marked sweeps or the selected one, after asking."""
        one = self._sweep()
        doomed = self._marked_sweeps() or ([one] if one else [])
        running = [sweep for sweep in doomed if sweep.alive]
        if not doomed:
            self.say("Select a stored sweep to delete it")
        elif running:
            self.say(f"{printable(running[0].id)} is running. Stop it first: enter, then S")
        else:
            self.app.push_screen(delete_question(doomed), partial(self._answered, doomed))

    def _answered(self, doomed: list[StoredSweep], yes: bool | None) -> None:
        if yes:
            self.say("Deleting…")
            self._delete(doomed)
        else:
            self.say("Nothing was deleted")

    @work(group="delete")
    async def _delete(self, doomed: list[StoredSweep]) -> None:
        gone, problems = await asyncio.to_thread(delete_all, doomed)
        await self._look_once()
        self.say(f"Deleted {gone} sweep{'s' * (gone != 1)}")
        if problems:
            self.app.push_screen(MessageDialog("Some sweeps were not deleted", "\n".join(problems)))

    def _leave_field(self) -> None:
        self.query_one(IdleField).leave()
        self.set_class(bool(self._query.strip()), "-filtered")
        self.call_after_refresh(self._draw)

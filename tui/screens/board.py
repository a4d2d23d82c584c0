"""The board: one sweep, live or stored, in panes."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from textual import events
from textual.app import ComposeResult

from batchscope.engine.errors import Problem
from batchscope.engine.findings.findings import find
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.tui.config.commands import Command, bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.config.panes import PANE_KEYS, PANES, SHOWN_PANE_KEYS, TILES, Tile
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.panes.pane_factory import new_pane
from batchscope.tui.panes.tiling import GRID_COLUMNS, GRID_ROWS, RIGHT, Heights, fits_grid, heights
from batchscope.tui.panes.trials.pane import TrialsPane, summary
from batchscope.tui.render.styled_text import Row, row, width_of
from batchscope.tui.screens import board_header
from batchscope.tui.screens.board_focus import FOCUSING, FocusScreen
from batchscope.tui.terminal import escapes
from batchscope.tui.terminal.captures import COPIES, keep, short_path
from batchscope.tui.theme.palette import BARE, Appearance
from batchscope.tui.viewmodel.journal_follower import JournalFollower
from batchscope.tui.viewmodel.view import View
from batchscope.tui.widgets.key_hints import hint_targets, hints
from batchscope.tui.widgets.rows_widget import Across, Down, Rows, Target, is_open

POLL_SECONDS = 0.4
DRAW_SECONDS = 1.0
PAINT_SECONDS = 0.5
LEFT = "59%"


class BoardScreen(FocusScreen):
    """The panes of one sweep, drawn from its journal. It stores no data itself."""

    PLACE = "board"
    CSS_PATH = "board.tcss"
    BINDINGS = bindings("board")

    def __init__(
        self,
        prepare: Callable[[], Path],
        clock: Callable[[], float],
        look: Appearance = BARE,
        others: Sequence[Path] = (),
    ) -> None:
        super().__init__()
        self.view = View(clock, look)
        self.folder: Path | None = None
        self._prepare, self._others = prepare, others
        self._phase = self.view.phase
        self.panes: dict[str, Pane] = {each.name: new_pane(each, self.view) for each in PANES}
        curves = self.panes["curves"]
        assert isinstance(curves, CurvesPane)
        self.curves = curves
        self.current: Pane = next(iter(self.panes.values()))
        self._before: Pane | None = None
        self.enlarged = False
        self._arranged: object = None

    def compose(self) -> ComposeResult:
        """Yield the header, the panes in two columns, and the lines around them."""
        with Across(id="header"):
            yield Rows(id="title")
            yield Rows(id="status")
        yield Rows(id="notice")
        yield Rows(id="tabs")
        with Across(id="panes"):
            with Down(id="left"):
                yield from self._tile("top")
                with Across(id="lower"):
                    yield from self._tile("lower left")
                    yield from self._tile("lower right")
            with Down(id="right"):
                for tile in RIGHT:
                    yield from self._tile(tile)
        yield Rows(id="summary")
        yield Rows(id="hints")

    def _tile(self, tile: Tile) -> Iterator[Pane]:
        """Yield the panes of a tile."""
        for name in TILES.get(tile, ()):
            self.panes[name].add_class(tile.replace(" ", "-"))
            yield self.panes[name]

    def on_mount(self) -> None:
        """Start to follow the journal and to draw."""
        self.run_worker(self._follow(), name="follow", exclusive=True)
        self.set_interval(DRAW_SECONDS * self.batchscope.settings.refresh, self._refresh)
        self._arrange()

    def on_resize(self, _: events.Resize) -> None:
        """Arrange the panes for the new size."""
        self._arrange()

    async def _follow(self) -> None:
        try:
            self.folder = await self.batchscope.launches.run(self._prepare)
        except Problem as problem:
            self.batchscope.give_up(problem)
            return
        self.batchscope.visited.append(self.folder)
        follower = JournalFollower(self.folder)
        self.view.adopt(*await asyncio.to_thread(follower.load))
        await asyncio.to_thread(self.curves.prepare)
        self._arrange()
        await self._painted()
        if self._others:
            await self.lay_over(self._others)
        while True:
            await self._judge()
            await asyncio.sleep(POLL_SECONDS)
            known = len(self.view.order)
            self.view.take(await asyncio.to_thread(follower.poll))
            await self.poll_overlays()
            self.heed()
            if known != len(self.view.order):
                self._arrange()

    async def _painted(self) -> None:
        """Wait until the panes are on the screen: judging claims first would delay them."""
        painted = asyncio.Event()
        self.call_after_refresh(painted.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(painted.wait(), PAINT_SECONDS)

    async def _judge(self) -> None:
        """Judge the claims again, in a thread, if a trial has started or ended.

        The state does not change meanwhile. New findings may need more rows.
        """
        if self.view.unjudged:
            known = self.view.moved["findings"]
            self.view.judged(await asyncio.to_thread(find, self.view.state))
            if known != self.view.moved["findings"]:
                self._arrange()

    @property
    def one(self) -> bool:
        """Whether a single pane is shown."""
        return self.enlarged or not self._roomy

    @property
    def _roomy(self) -> bool:
        return fits_grid(*self.size)

    # Drawing

    def redraw(self) -> None:
        """Draw what has changed since the last call."""
        if is_open(self):
            self._redraw_lines()
            for pane in self.panes.values():
                pane.draw()

    def _redraw_lines(self) -> None:
        """Draw the lines around the panes."""
        self.view.tick()
        if self.view.phase != self._phase:
            self._phase, self._said = self.view.phase, ""
        width = self.size.width
        name = self.folder.name if self.folder else ""
        self.batchscope.entitle(board_header.window_title(self.view, name))
        status = board_header.status(self.view, name, width)
        self._lines("status").styles.width = min(width, width_of(status))
        self._lines("status").show([status])
        self._lines("title").show([board_header.title(self.view, name)])
        notice = board_header.notice(self.view, width)
        self._lines("notice").styles.height = len(notice)
        self._lines("notice").show(notice)
        self._lines("tabs").show([self._tabs()], self._tab_targets())
        self._lines("summary").show([row(" ", *summary(self.view, width))])
        line = self._hints(width)
        self._lines("hints").show([line], hint_targets(line, self._fitting()))

    def _refresh(self) -> None:
        """Draw, unless the terminal is still busy with the last update."""
        if escapes.takes_more():
            self.redraw()

    def _arrange(self) -> None:
        """Show one pane or all tiles, in sizes that fit their contents."""
        if not is_open(self):
            return
        one = self.one
        seen = {self.current.NAME} if one else self._tiled()
        for pane in self.panes.values():
            pane.boxed, pane.current = self._roomy, pane is self.current
            pane.others = "" if one else self._behind(pane)
        rows = None if one else self._heights()
        arranged = (self.size, seen, rows)
        if arranged == self._arranged:
            self.redraw()
            return
        self._arranged = arranged
        for pane in self.panes.values():
            pane.display = pane.NAME in seen
        for name in ("left", "lower", "right"):
            box = self.query_one(f"#{name}")
            box.display = not one or self.current in box.query(Pane)
        self.query_one("#left").styles.width = "1fr" if one else LEFT
        self._lines("tabs").display = one
        self._lines("summary").display = one
        self.query_one("#lower").styles.height = rows.lower if rows else "1fr"
        for tile, height in (rows.right if rows else dict.fromkeys(RIGHT)).items():
            for name in TILES.get(tile, ()):
                self.panes[name].styles.height = height or "1fr"
        self._redraw_lines()
        for pane in self.panes.values():
            if pane.display:
                pane.draw_late()

    def _heights(self) -> Heights:
        """Return the rows of the tiles, from what the panes in them would fill."""
        available = self.size.height - 2 - len(board_header.notice(self.view, self.size.width))
        seen = self._tiled()
        shown = {
            tile: self.panes[name]
            for tile, names in TILES.items()
            for name in names
            if name in seen
        }
        wanted = {tile: pane.wanted_rows() for tile, pane in shown.items()}
        return heights(available, wanted, shown["right 1"].roomy_rows())

    def _tiled(self) -> set[str]:
        """Return the panes that the tiles show: the current one, and the first of each other."""
        current = self.current.NAME
        return {current if current in names else names[0] for names in TILES.values()}

    def _behind(self, pane: Pane) -> str:
        """Return the digits and names of the panes that share a tile with this one."""
        names = next(names for names in TILES.values() if pane.NAME in names)
        return "  ".join(f"{PANE_KEYS[name]} {name}" for name in names if name != pane.NAME)

    def _tab_targets(self) -> list[Target]:
        """Return where each other pane has its tab, for the mouse."""
        targets, left = [], 0
        for name, (text, _) in zip(("", *self.panes), self._tabs(), strict=True):
            if name and self.panes[name] is not self.current:
                targets.append(Target(left, left + len(text), PANE_KEYS[name]))
            left += len(text)
        return targets

    def _tabs(self) -> Row:
        named = [(f" {PANE_KEYS[name]} {pane.tab} ", pane) for name, pane in self.panes.items()]
        if 1 + sum(len(text) for text, _ in named) > self.size.width:
            named = [(f"{text.strip()} ", pane) for text, pane in named]
        return row(" ", *((text, "chosen" if pane is self.current else "") for text, pane in named))

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        first = row((f" {SHOWN_PANE_KEYS}", "key"), (" pane", "dim"))
        return hints(self._fitting(), first, width)

    def _fitting(self) -> list[Command]:
        """Return the commands that apply now, those on a configuration selected in a legend first.

        The commands on a configuration are also those of the pane of trials.
        """
        fitting = [
            replace(command.now(self.view.phase), late=command.late and not self.curves.selected)
            if command.action in FOCUSING
            else command.now(self.view.phase)
            for command in commands_at("board", self.batchscope.settings.keys)
            if (
                command.pane in (None, self.current.NAME)
                or (command.action in FOCUSING and self.current.NAME == "trials")
            )
            and self.fits(command)
        ]
        if self.current is self.curves and self.curves.selected:
            fitting.sort(key=lambda command: command.action not in FOCUSING)
        return fitting

    def say(self, text: str) -> None:
        """Show a message in the last line until the next key."""
        self._said, self._phase = text, self.view.phase
        self.redraw()

    def unsay(self, text: str) -> None:
        """Remove a message, if it is still shown."""
        if self._said == text:
            self.say("")

    # Keys

    def action_pane(self, name: str) -> None:
        """Show a pane full size; if it is shown already, go back."""
        pane = self.panes[name]
        if pane is not self.current:
            self._go(pane)
            self.enlarged = True
        elif self._roomy:
            self.enlarged = not self.enlarged
        elif self._before is not None:
            self._go(self._before)
        self._arrange()

    def on_pane_clicked(self, event: Pane.Clicked) -> None:
        """Make a pane the current one; a double click shows it full size, or all panes again."""
        if event.twice and self._roomy:
            self.enlarged = not self.enlarged
        self._go(event.pane)
        self._arrange()
        if event.answer:
            self.say(event.answer)

    def action_next(self, step: int) -> None:
        """Go to the next pane in the order of the tabs."""
        names = list(self.panes)
        at = names.index(self.current.NAME) + step
        self._go(self.panes[names[at % len(names)]])
        self._arrange()

    def action_enlarge(self) -> None:
        """Show the current pane full size, or go back to all panes."""
        if self._roomy:
            self.enlarged = not self.enlarged
            self._arrange()
        else:
            self._say_small()

    def action_all_panes(self) -> None:
        """Remove the cursor of the curves if there is one, else show all panes."""
        if self.current.release():
            self._arrange()
        elif not self._roomy:
            self._say_small()
        elif self.enlarged:
            self.enlarged = False
            self._arrange()
        else:
            self.say("All panes are shown already")

    def action_turn(self, name: str, what: str, step: int) -> None:
        """Switch the view of a pane, or show why that is impossible."""
        pane = self.panes[name]
        answer = pane.turn(what, step)
        if answer:
            self.say(answer)
        else:
            pane.top = None
            self._go(pane)
            self._arrange()

    def action_move(self, rows: int) -> None:
        """Scroll the current pane, or select another trial."""
        if self.current.move(rows):
            self._redraw_lines()
        else:
            self.say(self.current.no_further(rows))

    def trial(self) -> TrialState | None:
        """Return the selected trial, if the pane of trials is current."""
        return self.current.trial if isinstance(self.current, TrialsPane) else None

    def action_export(self) -> None:
        """Export the sweep to a folder, finished or not."""
        if self.folder is None or not self.view.loaded:
            self.say("Nothing to export yet: the sweep is starting")
            return
        from batchscope.tui.screens.sweep_actions import ask_export

        ask_export(self, self.folder, self.say)

    def action_copy(self) -> None:
        """Copy the numbers of the current pane to the clipboard and to a file."""
        table = self.current.copied()
        if not table or self.folder is None:
            self.say("Nothing to copy yet in this pane")
            return
        stem = f"{self.folder.name}-{self.current.tab.replace(' ', '-')}"
        try:
            (path,) = keep(self.batchscope.home, COPIES, stem, {".tsv": table + "\n"})
        except Problem as problem:
            self.say(str(problem))
            return
        sent = "Copied" if self.batchscope.copy(table) else "Too long for the clipboard"
        self.say(f"{sent}: {short_path(path, self.size.width - len(sent) - 4)}")

    def action_menu(self) -> None:
        """Go to the menu; the sweep keeps running."""
        self.batchscope.open_menu()

    def _go(self, pane: Pane) -> None:
        if pane is not self.current:
            self._before, self.current = self.current, pane

    def _say_small(self) -> None:
        self.say(f"All panes need a terminal of {GRID_COLUMNS}×{GRID_ROWS}; tab shows the next one")

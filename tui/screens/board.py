"""The board: one sweep, live or stored, in panes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textual import events
from textual.app import ComposeResult

from batchscope.engine.errors import Problem
from batchscope.engine.findings.findings import find
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.tui.config.commands import PANE_KEYS, SHOWN_PANE_KEYS, PaneName, bindings
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.panes.bars.pane import BarsPane
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.panes.export_table import table_of
from batchscope.tui.panes.findings import FindingsPane
from batchscope.tui.panes.gradients.pane import GradientsPane
from batchscope.tui.panes.log import LogPane
from batchscope.tui.panes.memory import MemoryPane
from batchscope.tui.panes.tiling import GRID_COLUMNS, GRID_ROWS, Heights, Wants, fits_grid, heights
from batchscope.tui.panes.trials.pane import TrialsPane, summary
from batchscope.tui.render.styled_text import Row, row, width_of
from batchscope.tui.screens import board_header
from batchscope.tui.screens.board_overlay import OverlayScreen
from batchscope.tui.terminal import escapes
from batchscope.tui.terminal.captures import COPIES, keep, short_path
from batchscope.tui.theme.palette import BARE, Appearance
from batchscope.tui.viewmodel.journal_follower import JournalFollower
from batchscope.tui.viewmodel.view import View
from batchscope.tui.widgets.key_hints import hints
from batchscope.tui.widgets.rows_widget import Across, Down, Rows, stands

POLL_SECONDS = 0.4
DRAW_SECONDS = 1.0
PAINT_SECONDS = 0.5
LEFT = "59%"


class BoardScreen(OverlayScreen):
    """Follows a journal and shows what it says; it holds nothing that leaving would lose."""

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
        self.curves = CurvesPane(self.view)
        panes: tuple[Pane, ...] = (
            self.curves,
            BarsPane(self.view),
            MemoryPane(self.view),
            GradientsPane(self.view),
            TrialsPane(self.view),
            FindingsPane(self.view),
            LogPane(self.view),
        )
        self.panes: dict[PaneName, Pane] = {pane.NAME: pane for pane in panes}
        self.current: Pane = self.curves
        self._before: Pane | None = None
        self.enlarged = False
        self._arranged: object = None

    def compose(self) -> ComposeResult:
        """Header, panes in two columns, and the lines above and below them."""
        with Across(id="header"):
            yield Rows(id="title")
            yield Rows(id="status")
        yield Rows(id="notice")
        yield Rows(id="tabs")
        with Across(id="panes"):
            with Down(id="left"):
                yield self.panes["curves"]
                with Across(id="lower"):
                    yield self.panes["bars"]
                    yield self.panes["trials"]
            with Down(id="right"):
                yield self.panes["gradients"]
                yield self.panes["memory"]
                yield self.panes["findings"]
                yield self.panes["log"]
        yield Rows(id="summary")
        yield Rows(id="hints")

    def on_mount(self) -> None:
        """Begin to follow, and to draw."""
        self.run_worker(self._follow(), name="follow", exclusive=True)
        self.set_interval(DRAW_SECONDS * self.batchscope.settings.refresh, self._refresh)
        self._arrange()

    def on_resize(self, _: events.Resize) -> None:
        """Another size may be another layout."""
        self._arrange()

    async def _follow(self) -> None:
        try:
            self.folder = await asyncio.to_thread(self._prepare)
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
        """Wait until figures are on the screen: to judge them meanwhile would hold them up."""
        painted = asyncio.Event()
        self.call_after_refresh(painted.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(painted.wait(), PAINT_SECONDS)

    async def _judge(self) -> None:
        """Judge the claims anew if there is cause, in a thread: nothing moves the state meanwhile.

        Findings that say more than before may want more rows.
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
        """Draw what has changed since the last time."""
        if stands(self):
            self._redraw_lines()
            for pane in self.panes.values():
                pane.draw()

    def _redraw_lines(self) -> None:
        """All but the panes."""
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
        self._lines("tabs").show([self._tabs()])
        self._lines("summary").show([row(" ", *summary(self.view, width))])
        self._lines("hints").show([self._hints(width)])

    def _refresh(self) -> None:
        """Draw, unless the terminal is behind: what it has no time for is skipped, not queued."""
        if escapes.takes_more():
            self.redraw()

    def _arrange(self) -> None:
        """Show the panes that are to be seen, in the sizes that their contents ask for."""
        if not stands(self):
            return
        one = self.one
        for pane in self.panes.values():
            pane.boxed, pane.current = self._roomy, pane is self.current
        rows = None if one else self._heights()
        arranged = (self.size, self.current if one else None, rows)
        if arranged == self._arranged:
            self.redraw()
            return
        self._arranged = arranged
        for pane in self.panes.values():
            pane.display = not one or pane is self.current
        for name in ("left", "lower", "right"):
            box = self.query_one(f"#{name}")
            box.display = not one or self.current in box.query(Pane)
        self.query_one("#left").styles.width = "1fr" if one else LEFT
        self._lines("tabs").display = one
        self._lines("summary").display = one
        for widget, height in (
            (self.query_one("#lower"), rows and rows.lower),
            (self.panes["gradients"], rows and rows.gradients),
            (self.panes["memory"], rows and rows.memory),
            (self.panes["findings"], rows and rows.findings),
        ):
            widget.styles.height = height or "1fr"
        self._redraw_lines()
        for pane in self.panes.values():
            if pane.display:
                pane.draw_late()

    def _heights(self) -> Heights:
        """Rows of the panes in the grid, which are the same while the contents want no others."""
        panes = self.panes
        available = self.size.height - 2 - len(board_header.notice(self.view, self.size.width))
        wants = Wants(
            gradients=panes["gradients"].wanted_rows(),
            gradients_apart=panes["gradients"].roomy_rows(),
            bars=panes["bars"].wanted_rows(),
            trials=panes["trials"].wanted_rows(),
            memory=panes["memory"].wanted_rows(),
            findings=panes["findings"].wanted_rows(),
        )
        return heights(available, wants)

    def _tabs(self) -> Row:
        runs: list[tuple[str, str]] = [(" ", "")]
        for name, pane in self.panes.items():
            style = "chosen" if pane is self.current else ""
            runs += [(f" {PANE_KEYS[name]} {pane.tab} ", style)]
        return tuple(runs)

    def _hints(self, width: int) -> Row:
        if self._said:
            return self._answer()
        shown = [
            command.now(self.view.phase)
            for command in commands_at("board", self.batchscope.settings.keys)
            if command.pane in (None, self.current.NAME) and self.fits(command)
        ]
        return hints(shown, row((f" {SHOWN_PANE_KEYS}", "key"), (" pane", "dim")), width)

    def say(self, text: str) -> None:
        """Answer a key that changed nothing else, until the next one."""
        self._said, self._phase = text, self.view.phase
        self.redraw()

    def unsay(self, text: str) -> None:
        """Take back what was said, if it still stands."""
        if self._said == text:
            self.say("")

    # What the keys do

    def action_pane(self, name: PaneName) -> None:
        """Show a pane full size; again, and it goes back to where one was."""
        pane = self.panes[name]
        if pane is not self.current:
            self._go(pane)
            self.enlarged = True
        elif self._roomy:
            self.enlarged = not self.enlarged
        elif self._before is not None:
            self._go(self._before)
        self._arrange()

    def action_next(self, step: int) -> None:
        """The next pane, in the order of the tabs."""
        names = list(self.panes)
        at = names.index(self.current.NAME) + step
        self._go(self.panes[names[at % len(names)]])
        self._arrange()

    def action_enlarge(self) -> None:
        """The current pane full size, or back."""
        if self._roomy:
            self.enlarged = not self.enlarged
            self._arrange()
        else:
            self._say_small()

    def action_all_panes(self) -> None:
        """Let go of a cursor first, then back to the grid."""
        if self.current.release():
            self._arrange()
        elif not self._roomy:
            self._say_small()
        elif self.enlarged:
            self.enlarged = False
            self._arrange()
        else:
            self.say("all panes are shown already")

    def action_turn(self, name: PaneName, what: str, step: int) -> None:
        """Have a pane show its matter another way, or say why it cannot."""
        pane = self.panes[name]
        answer = pane.turn(what, step)
        if answer:
            self.say(answer)
        else:
            pane.top = None
            self._go(pane)
            self._arrange()

    def action_move(self, rows: int) -> None:
        """Scroll the current pane."""
        if not self.current.move(rows):
            self.say(self.current.no_further(rows))

    def trial(self) -> TrialState | None:
        """The trial that is chosen in its pane, where that is the current one."""
        return self.current.trial if isinstance(self.current, TrialsPane) else None

    def action_export(self) -> None:
        """Write the sweep's files into a folder, finished or not."""
        if self.folder is None or not self.view.loaded:
            self.say("nothing to export yet: the sweep is starting")
            return
        from batchscope.tui.screens.sweep_actions import ask_export

        ask_export(self, self.folder, self.say)

    def action_copy(self) -> None:
        """The figures of the current pane to the clipboard, and to a file in any case."""
        table = table_of(self.current)
        if not table or self.folder is None:
            self.say(f"{self.current.heading}: there are no figures to copy yet")
            return
        stem = f"{self.folder.name}-{self.current.tab.replace(' ', '-')}"
        try:
            (path,) = keep(self.batchscope.home, COPIES, stem, {".tsv": table + "\n"})
        except Problem as problem:
            self.say(str(problem))
            return
        sent = "copied" if self.batchscope.copy(table) else "too long for the clipboard"
        self.say(f"{sent}: {short_path(path, self.size.width - len(sent) - 4)}")

    def action_menu(self) -> None:
        """Back to the menu; the sweep does not notice."""
        self.batchscope.open_menu()

    def _go(self, pane: Pane) -> None:
        if pane is not self.current:
            self._before, self.current = self.current, pane

    def _say_small(self) -> None:
        self.say(f"all panes at once need {GRID_COLUMNS}×{GRID_ROWS} cells; tab goes to the next")

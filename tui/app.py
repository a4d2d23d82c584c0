"""The app: opens the screens, runs commands that work everywhere, and exits."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from textual.app import App, SystemCommand
from textual.screen import Screen

from batchscope.engine.errors import Problem, UsageProblem
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.listing import Listing
from batchscope.engine.sweeps.prewarm import BREATH_SECONDS, Standby
from batchscope.engine.sweeps.store import Launch, create_sweep, home_folder
from batchscope.engine.system.clock import SteadyClock
from batchscope.tui.config.commands import bindings
from batchscope.tui.config.keymap import commands_at, textual_keymap
from batchscope.tui.config.settings import DEFAULTS, UserSettings, personal_folder
from batchscope.tui.exit_message import farewell
from batchscope.tui.gc_pause import HELD_SECONDS, go_on
from batchscope.tui.launches import Launches
from batchscope.tui.screens.app_protocol import AppProtocol
from batchscope.tui.terminal.captures import PICTURES, keep, kept_crash, pictures, short_path
from batchscope.tui.terminal.driver import TerminalDriver
from batchscope.tui.terminal.escapes import SAVE_TITLE, clipboard, has_title, title
from batchscope.tui.theme.palette import Appearance, Depth
from batchscope.tui.theme.textual_themes import register, wear
from batchscope.tui.theme.themes import DEFAULT, THEMES, next_theme


class BatchscopeApp(App[str]):
    """A viewer of sweeps. It trains nothing, so closing it does not stop a sweep."""

    TITLE = "batchscope"
    BINDINGS = bindings("everywhere")
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        home: Path,
        *,
        preset: Preset | None = None,
        launch: Launch | None = None,
        sweep: Path | None = None,
        others: Sequence[Path] = (),
        clock: Callable[[], float] | None = None,
        settings: UserSettings = DEFAULTS,
        standby: Standby | None = None,
    ) -> None:
        if not os.environ.get("NO_COLOR"):  # an empty value has no effect (no-color.org)
            os.environ.pop("NO_COLOR", None)
        # the colours must be known before Textual sets the filters of NO_COLOR
        super().__init__(driver_class=TerminalDriver, ansi_color=True)
        self.settings = settings
        self.home = home
        self.listing = Listing(home)
        self.clock = clock or SteadyClock()
        self.visited: list[Path] = []
        self.launches = Launches(self._tell_late)
        self._known: dict[Path, SweepState] = {}
        self.failure: Problem | None = None
        self.leaving = False
        self._standby = standby
        self._preset, self._launch, self._sweep, self._others = preset, launch, sweep, others
        self.animation_level = "none"
        self.look = Appearance(
            theme=settings.theme if not self.no_color else DEFAULT,
            depth=_depth(self.console.color_system, self.no_color),
            ascii=bool(settings.ascii),
        )
        self.set_class(self.look.ascii, "-ascii-only")
        register(self)
        wear(self, self.look.theme)
        self.titled = ""
        self.set_keymap(textual_keymap(settings.keys))

    def on_mount(self) -> None:
        """Open the board if a sweep or preset was given, and the menu otherwise."""
        self.set_timer(HELD_SECONDS, go_on)
        self.app_resume_signal.subscribe(self, self._draw_again)
        if self.leaving:
            self.exit()
        elif self._sweep is not None:
            self.open_comparison([self._sweep, *self._others])
        elif self._preset is not None:
            self.launch(self._preset)
        else:
            self.open_menu()

    def open_menu(self, problem: str = "") -> None:
        """Show the menu; `problem` is why a board could not be shown."""
        from batchscope.tui.screens.dialog import MessageDialog
        from batchscope.tui.screens.menu import MenuScreen

        limit = self._launch.memory_limit if self._launch else None
        self._show(MenuScreen(self.listing, limit, current_folder(), personal_folder()))
        if self._standby:
            self._standby.breathe()
            self.set_timer(BREATH_SECONDS + 0.1, self._stand_by)
        if problem:
            self.push_screen(MessageDialog("The sweep did not start", problem))

    def open_sweep(self, folder: Path) -> None:
        """Show a stored or running sweep."""
        self._open_board(lambda: folder)

    def open_comparison(self, folders: Sequence[Path]) -> None:
        """Show the first of these sweeps, with the curves of the others overlaid."""
        first, *others = folders
        self._open_board(lambda: first, others)

    def launch(self, preset: Preset) -> None:
        """Start a new sweep and show it; ask first if it runs code that is not trusted."""
        from batchscope.engine.sweeps.trust import trust_question
        from batchscope.tui.screens.trust_dialog import ask_trust

        try:
            home = home_folder(str(self.home))
        except Problem:
            self._start(preset)  # fails for the same reason, and says so on the menu
            return
        question = trust_question(home, preset, personal_folder())
        ask_trust(self, home, question, lambda: self._start(preset), self._not_started)

    def _not_started(self, why: str) -> None:
        """Say why nothing was started; leave if there is no screen to go back to."""
        if self._preset is None or self._ground() is not None:
            self.say(why)
        else:
            self.give_up(UsageProblem(why))

    def _start(self, preset: Preset) -> None:
        asked = self._launch or Launch(preset=preset.name)
        where = msgspec.structs.replace(asked, preset=preset.name)

        def start() -> Path:
            folder = create_sweep(home_folder(str(self.home)), preset, where)
            self.conduct(folder)
            return folder

        self._open_board(start)

    def conduct(self, folder: Path) -> None:
        """Start a conductor for a sweep, or use the one on standby.

        Raises:
            MachineProblem: no conductor could be started.
        """
        self.visited.append(folder)  # first: whoever leaves meanwhile is told of the sweep
        if self._standby:
            self._standby.conduct(folder)
        else:
            start_conductor(folder)

    def on_key(self) -> None:
        """Keep the standby conductor alive while the menu is in use."""
        self._stand_by()

    def _stand_by(self) -> None:
        """Start or keep a standby conductor while the menu is open."""
        if self._standby and self._standby.due and self._place() == "menu":
            self.run_worker(self._standby.touch, thread=True, exit_on_error=False)

    def give_up(self, problem: Problem) -> None:
        """Report a failed launch: in the menu if it came from there, else by leaving the app."""
        if self._preset is None:
            self.open_menu(str(problem))
        else:
            self.failure = problem
            self.exit()

    def _tell_late(self, problem: Problem) -> None:
        """Show why a launch failed whose board was left; may be called from any thread.

        It is the failure of the app until it is shown, so that leaving reports it, too.
        """
        self.failure = problem

        def show() -> None:
            from batchscope.tui.screens.dialog import MessageDialog

            self.failure = None
            self.push_screen(MessageDialog("The sweep did not start", str(problem)))

        with contextlib.suppress(AttributeError, RuntimeError):  # the app has ended
            loop = self._loop
            if loop is not None:
                loop.call_soon_threadsafe(self.call_later, show)

    def leave_soon(self) -> None:
        """Leave as `action_leave` does; may be called from the handler of a signal."""
        self.leaving = True
        with contextlib.suppress(AttributeError, RuntimeError):  # not started yet, or ended
            loop = self._loop
            if loop is not None:
                loop.call_soon_threadsafe(self.call_later, self.action_leave)

    def _draw_again(self, _: object) -> None:
        """Draw all of the screen: another program has used the terminal meanwhile."""
        self.screen.refresh(layout=True)

    def _fatal_error(self) -> None:
        """Leave with one message; the traceback of the error in the app goes to a file."""
        self.failure = kept_crash(self.home)
        self._close_messages_no_wait()

    def action_leave(self) -> None:
        """Leave the app; `last_words` tells of the sweeps that were shown."""
        from batchscope.tui.screens.board import BoardScreen

        for board in self.screen_stack:
            if isinstance(board, BoardScreen) and board.folder and board.view.loaded:
                self._known[board.folder] = board.view.state
        self.exit()

    def last_words(self) -> list[str]:
        """Return a line about each sweep that was shown or started; for after the app has ended."""
        starting = not self.launches.finish(0)
        folders = dict.fromkeys(self.visited)
        lines = [farewell(folder, self._known.get(folder), starting) for folder in folders]
        return [line for line in lines if line]

    def action_help(self) -> None:
        """Show the keys of the screen, those of the current pane first."""
        from batchscope.tui.screens.board import BoardScreen
        from batchscope.tui.screens.help import Help

        if not isinstance(self.screen, Help):
            pane = self.screen.current.NAME if isinstance(self.screen, BoardScreen) else ""
            self.push_screen(Help(commands_at(self._place(), self.settings.keys), pane))

    def action_command_palette(self) -> None:
        """Open the palette, once a dialog that is just closing has closed."""
        self.call_after_refresh(super().action_command_palette)

    def action_theme(self) -> None:
        """Switch to the next theme and show its name."""
        if self.look.depth == "none":
            self.say(
                "No themes: NO_COLOR is set"
                if self.no_color
                else "No themes: this terminal has no colours"
            )
            return
        name = next_theme(self.look.theme)
        self.look = replace(self.look, theme=name)
        wear(self, name)
        self.say(f"Theme {name}: {THEMES[name].about} (option: --theme {name})")

    def action_picture(self) -> None:
        """Save the screen as SVG and text, and show where."""
        from batchscope.tui.screens.board import BoardScreen

        boards = [screen for screen in self.screen_stack if isinstance(screen, BoardScreen)]
        stem = next((board.folder.name for board in boards if board.folder), "menu")
        try:
            svg, _ = keep(self.home, PICTURES, stem, pictures(self))
        except Problem as problem:
            self.say(str(problem))
            return
        self.say(f"Saved (and as .txt): {short_path(svg, self.size.width - 23)}")

    def copy(self, text: str) -> bool:
        """Copy a text to the terminal's clipboard; return False if it is too long for it."""
        sequence = clipboard(text, os.environ)
        self.send(sequence)
        return bool(sequence)

    def entitle(self, text: str) -> None:
        """Set the title of the terminal's window, if it changed."""
        if text != self.titled and has_title(os.environ):
            before, self.titled = self.titled, text
            self.send(("" if before else SAVE_TITLE) + title(text))

    def send(self, sequence: str) -> None:
        """Write a control sequence to the terminal, if there is one."""
        if self._driver and not self.is_headless:
            self._driver.write(sequence)
            self._driver.flush()

    def say(self, text: str) -> None:
        """Show a message in the last line of every open screen."""
        for screen in self.screen_stack:
            answer = getattr(screen, "say", None)
            if answer:
                answer(text)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield the entries of the palette: the same commands as the keys."""
        ground = self._ground() or screen
        for command in commands_at(self._place(), self.settings.keys):
            target = self if command.place == "everywhere" else ground

            def run(action: str = command.action, target: Any = target) -> None:
                self.call_later(self.run_action, action, target)

            if command.action != "command_palette":
                yield SystemCommand(command.name, command.help, run)

    def _ground(self) -> Screen[Any] | None:
        """Return the topmost screen that is not a dialog."""
        return next((one for one in self.screen_stack[::-1] if hasattr(one, "PLACE")), None)

    def _place(self) -> Any:
        return getattr(self._ground(), "PLACE", "menu")

    def _open_board(self, prepare: Callable[[], Path], others: Sequence[Path] = ()) -> None:
        from batchscope.tui.screens.board import BoardScreen

        self._show(BoardScreen(prepare, self.clock, self.look, others))

    def _show(self, screen: Screen[Any]) -> None:
        """Replace all screens but Textual's empty one by this one."""
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if len(self.screen_stack) > 1:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)


def _depth(system: str | None, no_color: bool) -> Depth:
    """Return how many colours the terminal has."""
    if no_color or system is None:
        return "none"
    return "many" if system in ("256", "truecolor") else "sixteen"


def current_folder() -> Path | None:
    """Return the folder that batchscope was started in; None if it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        return None


_SHOWN: type[AppProtocol] = BatchscopeApp
"""Lets the type checker verify that the app has all that screens use."""

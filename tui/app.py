"""The app: which screen is open, and what is said on leaving."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from textual.app import App, SystemCommand
from textual.screen import Screen

from engine.catalog import Launch, create_sweep
from engine.launching import start_conductor
from engine.problems import Problem
from engine.reading import Preset
from tui.commands import bindings, commands_at
from tui.farewell import farewell

THEME = "ansi-dark"  # the terminal's own colours and background, light or dark


class BatchscopeApp(App[str]):
    """A viewer of sweeps. It trains nothing: leaving it costs a sweep nothing."""

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
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)  # known before the filters of NO_COLOR are chosen
        self.home = home
        self.clock = clock
        self.visited: list[Path] = []
        self.failure: Problem | None = None
        self._preset, self._launch, self._sweep = preset, launch, sweep
        self.animation_level = "none"
        self.theme = THEME
        self.sixteen = self.console.color_system not in ("256", "truecolor")

    def on_mount(self) -> None:
        """Open the board where a sweep or a preset was named, and the menu otherwise."""
        if self._sweep is not None:
            self.open_sweep(self._sweep)
        elif self._preset is not None:
            self.launch(self._preset)
        else:
            self.open_menu()

    def open_menu(self, problem: str = "") -> None:
        """Show the menu, with what went wrong on the way to the board."""
        from tui.screens.dialog import Message
        from tui.screens.menu import MenuScreen

        self._show(MenuScreen(self.home))
        if problem:
            self.push_screen(Message("The sweep did not start", problem))

    def open_sweep(self, folder: Path) -> None:
        """Show a stored or running sweep."""
        self._open_board(lambda: folder)

    def launch(self, preset: Preset) -> None:
        """Begin a new sweep and show it."""
        asked = self._launch or Launch(preset=preset.name)
        where = msgspec.structs.replace(asked, preset=preset.name)

        def start() -> Path:
            folder = create_sweep(self.home, preset, where)
            start_conductor(folder)
            return folder

        self._open_board(start)

    def give_up(self, problem: Problem) -> None:
        """A launch that came to nothing: say why in the menu, if that is where it was asked for."""
        if self._preset is None:
            self.open_menu(str(problem))
        else:
            self.failure = problem
            self.exit()

    def action_leave(self) -> None:
        """Leave, and say what goes on."""
        from tui.screens.board import BoardScreen

        boards = [screen for screen in self.screen_stack if isinstance(screen, BoardScreen)]
        known = {board.folder: board.view.state for board in boards if board.view.loaded}
        folders = dict.fromkeys(self.visited)
        lines = [farewell(folder, known.get(folder)) for folder in folders]
        self.exit("\n".join(line for line in lines if line))

    def action_help(self) -> None:
        """What there is to see and to press."""
        from tui.screens.help import Help

        if not isinstance(self.screen, Help):
            self.push_screen(Help(commands_at(self._place())))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: the same commands as the keys."""
        for command in commands_at(self._place(screen)):
            target = self if command.place == "everywhere" else screen

            def run(action: str = command.action, target: Any = target) -> None:
                self.call_later(self.run_action, action, target)

            if command.action != "command_palette":
                yield SystemCommand(command.name, command.help, run)

    def _place(self, screen: Screen[Any] | None = None) -> Any:
        from tui.screens.board import BoardScreen

        stack = [screen] if screen else self.screen_stack
        return "board" if any(isinstance(one, BoardScreen) for one in stack) else "menu"

    def _open_board(self, prepare: Callable[[], Path]) -> None:
        from tui.screens.board import BoardScreen

        self._show(BoardScreen(prepare, self.clock))

    def _show(self, screen: Screen[Any]) -> None:
        """Make this the one screen above the empty one."""
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if len(self.screen_stack) > 1:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

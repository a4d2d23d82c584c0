"""What the mouse does: tabs, keys in the last line, panes, rows and the wheel."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.panes.trials.pane import TrialsPane
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.help import Help
from batchscope.tui.screens.menu import MenuScreen
from tests.functional.board_fixtures import conductor_of, finished_sweep, running_sweep
from tests.functional.board_fixtures import home as home
from tests.functional.boards import SMALL, board_on, loaded, part, until

LARGE = (160, 45)


async def click(pilot: Pilot[str], widget: str, text: str, row: int = 0) -> None:
    """Click the first cell of a text in a row of a widget."""
    line = part(pilot.app, widget).splitlines()[row]
    assert text in line, line
    await pilot.click(f"#{widget}", offset=(line.index(text), row))
    await pilot.pause()


async def test_a_click_on_a_tab_shows_its_pane(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        for name in ("trials", "findings", "curves"):
            await click(pilot, "tabs", name if name != "curves" else board.curves.tab)
            assert name == board.current.NAME
        before = board.current
        await click(pilot, "tabs", board.curves.tab)
        assert board.current is before, "it is shown already"


async def test_a_click_on_a_key_of_the_last_line_presses_it(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await click(pilot, "hints", "? help")
        assert isinstance(app.screen, Help)
        await pilot.click("Help Static")
        assert isinstance(app.screen, BoardScreen)
        await click(pilot, "hints", "menu")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))


async def test_the_keys_of_a_question_can_be_clicked(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("S")
            assert isinstance(app.screen, ConfirmDialog)
            await pilot.click("ConfirmDialog Static")
            assert isinstance(app.screen, ConfirmDialog), "only the keys answer"
            line = app.screen.query_one("KeyLine")
            await pilot.click(line, offset=(line.region.width - 1, 0))
            assert isinstance(app.screen, ConfirmDialog)
            await pilot.click(line, offset=(str(line.text).index("n "), 0))  # type: ignore[attr-defined]
            assert isinstance(app.screen, BoardScreen)
    assert not (folder / "commands.jsonl").exists()


@pytest.mark.parametrize("size", [SMALL, (120, 35), LARGE])
async def test_a_click_selects_a_trial_and_the_wheel_moves_on(
    home: Path, size: tuple[int, int]
) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        board = await loaded(pilot)
        await pilot.press("tab")
        while board.current.NAME != "trials":
            await pilot.press("tab")
        trials = board.panes["trials"]
        assert isinstance(trials, TrialsPane)
        await pilot.pause()
        shown = trials.text.splitlines()
        at = next(at for at, line in enumerate(shown) if " s2 " in line)
        await pilot.click(trials, offset=(8, at))
        assert trials.trial is not None
        assert (trials.trial.seed, board.current.NAME) == (2, "trials")
        first = trials.trial.id
        trials.on_mouse_scroll_down(None)  # type: ignore[arg-type]
        assert trials.trial.id != first


async def test_a_click_makes_a_pane_current_and_a_double_click_enlarges_it(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        await pilot.click("#pane-memory", offset=(5, 1))
        assert (board.current.NAME, board.one) == ("memory", False)
        await pilot.click("#pane-memory", offset=(5, 1), times=2)
        assert (board.current.NAME, board.one) == ("memory", True)
        await pilot.click("#pane-memory", offset=(9, 3), times=2)
        assert (board.current.NAME, board.one) == ("memory", False)


async def test_a_message_closes_with_a_click(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        app.push_screen(MessageDialog("Title", "Text"))
        await pilot.pause()
        await pilot.click("MessageDialog Static")
        assert isinstance(app.screen, MenuScreen)

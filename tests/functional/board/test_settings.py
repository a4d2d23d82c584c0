"""The board and the menu with settings of the user."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from batchscope.engine.spec import trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.config.panes import PANE_KEYS, SHOWN_PANE_KEYS
from batchscope.tui.config.settings import UserSettings
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.help import Help
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.theme.themes import THEMES
from batchscope.tui.viewmodel.marks import LETTERS
from batchscope.tui.widgets.rows_widget import Rows
from tests.functional.board_fixtures import (
    NOW,
    Recipe,
    configurations,
    finished_sweep,
    home,
    probed_sweep,
    running_sweep,
)
from tests.functional.boards import loaded, part, screen_text, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")

SMALL, LARGE = (80, 24), (160, 45)


def board_on(folder: Path, settings: UserSettings) -> BatchscopeApp:
    return BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW, settings=settings)


# Themes


async def test_a_key_turns_through_the_themes(home: Path) -> None:
    app = board_on(finished_sweep(home), UserSettings(theme="light"))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        order = ["light", "colour-blind", "contrast", "terminal", "dark", "light"]
        for name, following in pairwise(order):
            assert app.look.theme == name
            background = app.screen.styles.background
            assert background.hex.lower() == THEMES[name].background or name == "terminal"
            await pilot.press("T")
            assert f"Theme {following}: " in part(app, "hints")


async def test_a_theme_colours_rows_and_dialogs_alike(home: Path) -> None:
    app = board_on(finished_sweep(home), UserSettings(theme="light"))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        strip = board.curves.render_line(3)
        grounds = {s.style.bgcolor.name for s in strip if s.style and s.style.bgcolor}
        assert grounds == {THEMES["light"].background}
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        dialog = app.screen.query_one(".dialog")
        assert dialog.styles.background.hex.lower() == THEMES["light"].background


async def test_under_no_color_there_is_no_theme_to_choose(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = board_on(finished_sweep(home), UserSettings(theme="light"))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert part(app, "pane-curves").count("▲") == 7, "six on the curve, one in the legend"
        await pilot.press("T")
        assert "NO_COLOR is set" in part(app, "hints")
        assert app.look.theme == "terminal"


# Keys


async def test_custom_keys_work_and_are_shown(home: Path) -> None:
    keys = {"menu": ("q",), "leave": ("m",), "curves-next-figure": ("z",), "help": ("h", "f2")}
    app = board_on(finished_sweep(home), UserSettings(keys=keys))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert part(app, "hints").startswith(f" {SHOWN_PANE_KEYS} pane  y metric  x axis")
        assert part(app, "hints").endswith("q menu  h f2 help  m leave")
        await pilot.press("z")
        assert "loss" in part(app, "pane-curves")
        await pilot.press("Y")
        assert "Y does nothing here" in part(app, "hints")
        await pilot.press("f2")
        assert isinstance(app.screen, Help)
        await pilot.press("x", "q")
        assert isinstance(app.screen, MenuScreen)
        await pilot.press("m")
    assert app.return_code == 0


# ASCII


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_in_ascii_every_pane_and_dialog_is(home: Path, size: tuple[int, int]) -> None:
    for make in (running_sweep, probed_sweep):
        app = board_on(make(home), UserSettings(ascii=True))
        async with app.run_test(size=size) as pilot:
            await loaded(pilot)
            for keys in (
                "1",
                "l",
                "lt",
                "Y",
                "2",
                "B",
                "3",
                "4",
                "g",
                "g",
                "g",
                *PANE_KEYS.values(),
            ):
                await pilot.press(*keys)
                assert screen_text(app).isascii(), screen_text(app)
            await pilot.press("S")
            assert screen_text(app).isascii()
            await pilot.press("n", "m")
            assert isinstance(app.screen, MenuScreen)
            await pilot.pause(0.2)
            assert screen_text(app).isascii()


async def test_in_ascii_curves_are_letters_and_bars_are_signs(home: Path) -> None:
    app = board_on(finished_sweep(home), UserSettings(ascii=True))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        assert isinstance(board, BoardScreen)
        assert [mark.glyph for mark in board.view.marks.values()] == list(LETTERS[:4])
        shown = part(app, "pane-curves")
        assert shown.count("aaa") > 1
        assert "dddd" in shown
        assert "D 512 0.9" in shown
        await pilot.press("2")
        assert " A   8 ####################" in part(app, "pane-bars")


async def test_in_ascii_what_is_drawn_is_as_wide(home: Path) -> None:
    app = board_on(finished_sweep(home), UserSettings(ascii=True))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        for pane in board.panes.values():
            for y in range(pane.size.height):
                strip = pane.render_line(y)
                assert strip.text.isascii()
                assert len(strip.text) == pane.size.width


# Texts of any width


async def test_wide_and_combining_characters_move_nothing(home: Path) -> None:
    odd = "日本 e\u0301\u0327 한국어 é"
    recipe = Recipe(home)
    chosen = tuple(
        msgspec.structs.replace(each, label=f"{odd}{each.label}") for each in configurations()
    )
    recipe.open(chosen, title=odd, question=f"{odd}?")
    recipe.ready(chosen)
    trials = [trial for each in chosen for trial in trials_of(each)]
    recipe.start(trials[0])
    recipe.end(trials[0], "failed", f"{odd * 9}")
    for trial in trials[1:]:
        recipe.whole(trial)
    for size in (SMALL, LARGE):
        for ascii_only in (False, True):
            app = board_on(recipe.folder, UserSettings(ascii=ascii_only))
            async with app.run_test(size=size) as pilot:
                board = await loaded(pilot)
                for key in PANE_KEYS.values():
                    await pilot.press(key)
                    for rows in (each for each in board.query(Rows) if each.display):
                        for y in range(rows.size.height):
                            strip = rows.render_line(y)
                            assert cell_len(strip.text) == rows.size.width, strip.text
                            frame = strip.text[-1:] in "│╮╯|+" or rows not in board.panes.values()
                            assert frame or not board.curves.boxed, strip.text


# Keys that come faster than screens


async def test_a_dialog_closes_nothing_but_itself(home: Path) -> None:
    app = board_on(finished_sweep(home), UserSettings())
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await pilot.press("?")
        dialog = app.screen
        assert isinstance(dialog, Help)
        for _ in range(3):
            dialog.dismiss()
        await pilot.pause()
        assert app.screen_stack[-1] is board
        await pilot.press("?")
        below = app.screen
        assert isinstance(below, Help)
        above = MessageDialog("over it", "a message")
        await app.push_screen(above)
        below.dismiss()
        await pilot.pause()
        assert isinstance(app.screen_stack[-1], MessageDialog)

"""The board, key by key and at any size, on recorded journals."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.geometry import Region

from batchscope.engine.journal import events as ev
from batchscope.engine.spec import trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.config.panes import PANE_KEYS, TILES
from tests.functional.board_fixtures import (
    START,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, panes_seen, part, still, until

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")

TILED = ["curves", "bars", "memory", "gradients", "trials", "findings", "log"]
"""The first pane of each tile."""


async def test_all_panes_at_once_where_there_is_room(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        assert panes_seen(app) == TILED
        assert not app.screen.query_one("#tabs").display


@pytest.mark.parametrize(
    ("key", "name"),
    [(key, name) for name, key in PANE_KEYS.items() if name != "curves"],
)
async def test_a_digit_shows_its_pane_full_size_and_again_goes_back(
    home: Path, key: str, name: str
) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press(key)
        assert panes_seen(app) == [name]
        assert app.screen.query_one(f"#pane-{name}").size.width == LARGE[0]
        await pilot.press(key)
        assert len(panes_seen(app)) == len(TILES)


async def test_enter_enlarges_the_current_pane_and_escape_goes_back(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("tab", "enter")
        assert panes_seen(app) == ["bars"]
        await pilot.press("escape")
        assert len(panes_seen(app)) == len(TILES)
        await pilot.press("escape")
        assert "shown already" in part(app, "hints")


async def test_tab_cycles_both_ways_and_the_frame_marks_the_current_pane(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        first, *others = board.panes
        for expected in (*others, first):
            await pilot.press("tab")
            assert expected == board.current.NAME
            assert [pane.NAME for pane in board.panes.values() if pane.current] == [expected]
        await pilot.press("shift+tab")
        assert others[-1] == board.current.NAME


async def test_one_pane_at_a_time_on_a_small_screen(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert panes_seen(app) == ["curves"]
        tabs = part(app, "tabs").split()
        assert tabs[::2] == list(PANE_KEYS.values())
        assert tabs[1:6:2] == ["accuracy", "time", "memory"]
        await pilot.press("5")
        assert panes_seen(app) == ["trials"]
        await pilot.press("tab")
        assert panes_seen(app) == ["findings"]
        await pilot.press("6")
        assert panes_seen(app) == ["trials"]
        await pilot.press("escape")
        assert "120×26" in part(app, "hints")
        await pilot.press("enter")
        assert "120×26" in part(app, "hints")


async def test_first_and_last_lines_stay_on_a_small_screen(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            for key in PANE_KEYS.values():
                await pilot.press(key)
                assert "● running 01:35  ETA " in part(app, "status")
                assert "trials 5/12 done, 1 failed, 2 running" in part(app, "summary")
                assert "? help" in part(app, "hints")
            rows = [app.screen.query_one(f"#{name}").region.y for name in ("summary", "hints")]
            assert rows == [22, 23]


HOSTILE = "[red]x[/] \x1b]0;pwn\x07 [/nothing] 批次"


async def test_text_from_files_is_neither_markup_nor_an_escape_sequence(home: Path) -> None:
    recipe = Recipe(home)
    recipe.open(configurations(), title=HOSTILE, question=HOSTILE)
    recipe.ready(configurations())
    trial = trials_of(configurations()[0])[0]
    recipe.start(trial)
    recipe.end(trial, "failed", HOSTILE)
    recipe.say(ev.Note(text=HOSTILE, level="error"))
    recipe.close("failed", 12, 0, HOSTILE)
    app = board_on(recipe.folder)
    async with app.run_test(size=(170, 45)) as pilot:
        await loaded(pilot)
        for pane in ("title", "pane-trials", "pane-log", "notice"):
            assert "[red]x[/] �]0;pwn� [/nothing] 批次" in part(app, pane)
        await pilot.press("q")
    assert "".join(app.last_words()).isprintable()


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (120, 26), (250, 70)])
async def test_any_size_at_any_moment(home: Path, size: tuple[int, int]) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    keys = [*"1223445567lllttm"[:-1], "tab", "escape", "enter", "down", "end", "?", "escape"]
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            board = await loaded(pilot)
            await pilot.resize_terminal(*size)
            await pilot.press(*keys, "S", "n")
            assert app.screen is board
            await pilot.resize_terminal(*LARGE)
            await pilot.pause()
            await pilot.press("1", "escape")
            await until(pilot, lambda: len(panes_seen(app)) == len(TILES))
            assert "final test" in part(app, "pane-curves")


async def test_what_has_not_changed_is_not_drawn_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        drawn: list[tuple[str, tuple[Region, ...]]] = []
        for pane in board.panes.values():
            monkeypatch.setattr(
                pane, "refresh", lambda *regions, name=pane.NAME: drawn.append((name, regions))
            )
        board.redraw()
        assert drawn == []
        board.view.state.log[-1].text = "sweep finished, 11 of 12 trials finished"
        board.view.moved["log"] += 1
        board.redraw()
        ((name, regions),) = drawn
        assert name == "log"
        assert [region.height for region in regions] == [1]
        assert regions[0].width < 40


async def test_the_second_hand_moves_only_the_status(home: Path) -> None:
    recipe = Recipe(home)
    recipe.open(configurations())
    moment = [START + 10]
    app = BatchscopeApp(home, sweep=recipe.folder, clock=lambda: moment[0])
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            board = await loaded(pilot)
            before = {name: part(app, name) for name in ("title", "tabs", "summary", "hints")}
            assert "◌ preparing 00:10" in part(app, "status")
            moment[0] += 1
            board.redraw()
            assert "◌ preparing 00:11" in part(app, "status")
            assert {name: part(app, name) for name in before} == before


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
def test_picture_of_a_running_sweep(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    folder = running_sweep(home)
    with conductor_of(folder):
        assert snap_compare(board_on(folder), terminal_size=size, run_before=loaded)


def test_picture_in_sixteen_colours(
    home: Path, snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM")
    app = board_on(finished_sweep(home))
    assert app.look.depth == "sixteen"
    assert snap_compare(app, terminal_size=SMALL, run_before=loaded)


async def test_no_color_leaves_no_colour(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        lines = board.curves.render_lines(Region(0, 0, *board.curves.size))
        styles = [segment.style for line in lines for segment in line if segment.style]
        assert len(lines) > 10
        colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour]
        assert all(colour.is_default for colour in colours)

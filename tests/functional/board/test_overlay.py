"""Other stored sweeps overlaid on the curves of the board."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batchscope.engine.spec import trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.sweep_chooser import SweepChooser
from batchscope.tui.widgets.key_hints import KeyLine
from batchscope.tui.widgets.list_picker import Picker
from tests.functional.board_fixtures import (
    NOW,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    wide_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part, screen_text, still, until

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")

OTHER, THIRD = "20270116-093000-accumulation", "20270117-101500-distance"


def curves(app: BatchscopeApp) -> str:
    return part(app, "pane-curves")


def other_sweep(home: Path, name: str = OTHER, sizes: tuple[int, ...] = (8, 1024)) -> Path:
    """Another sweep, of which one batch size is the board's too."""
    recipe, chosen = Recipe(home, name), configurations(sizes, seeds=2)
    recipe.open(chosen)
    recipe.ready(chosen)
    for configuration in chosen:
        for trial in trials_of(configuration):
            recipe.whole(trial)
    recipe.close("finished", 2 * len(sizes), 2 * len(sizes))
    return recipe.folder


async def asked(app: BatchscopeApp, pilot: object) -> SweepChooser:
    """Press `o` and wait for the list."""
    await pilot.press("o")  # type: ignore[attr-defined]
    await until(pilot, lambda: isinstance(app.screen, SweepChooser))  # type: ignore[arg-type]
    screen = app.screen
    assert isinstance(screen, SweepChooser)
    return screen


async def test_another_sweep_is_selected_and_overlaid(home: Path) -> None:
    folder = finished_sweep(home)
    other_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        alone = curves(app)
        await asked(app, pilot)
        shown = app.screen.query_one(Picker).text
        assert "accumulation" in shown
        assert "quickstart" not in shown, "the board's own is not offered"
        await pilot.press("enter")
        await until(pilot, lambda: "accumulation" in curves(app))
        lines = curves(app).splitlines()
        named = next(at for at, line in enumerate(lines) if "╍ 01-16 09:30 accumulation" in line)
        assert " a    8 0.97" in lines[named + 1]
        assert " b 1024 0.8" in lines[named + 2]
        assert "n=2" in lines[named + 1]
        plot = "\n".join(line[:40] for line in lines)
        assert "a" in plot
        assert "b" in plot
        own, over = board.curves.sources()
        assert over.marks["b8"].style == own.marks["b8"].style, "a colour means a batch size"
        assert over.marks["b1024"].style not in {mark.style for mark in own.marks.values()}
        await asked(app, pilot)
        assert app.screen.query_one(Picker).text.startswith(" ▸*"), "it is marked"
        await pilot.press("space", "enter")
        await until(pilot, lambda: curves(app) == alone)


async def test_several_sweeps_have_letters_of_their_own(home: Path) -> None:
    folder = finished_sweep(home)
    other_sweep(home)
    other_sweep(home, THIRD, (8, 32))
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await asked(app, pilot)
        await pilot.press("down", "space", "enter")
        await until(pilot, lambda: "accumulation" in curves(app))
        assert "a    8 " in curves(app), "the first letters, until another comes before"
        await asked(app, pilot)
        await pilot.press("home", "space", "enter")
        await until(pilot, lambda: "distance" in curves(app))
        shown = curves(app)
        assert shown.index("01-17 10:15 distance") < shown.index("01-16 09:30 accumulation")
        for head in ("a    8 ", "b   32 ", "c    8 ", "d 1024 "):
            assert head in shown
        assert [source.key for source in app.screen.curves.sources()] == ["", THIRD, OTHER]  # type: ignore[attr-defined]


async def test_the_cursor_reads_values_of_overlaid_sweeps(home: Path) -> None:
    folder = finished_sweep(home)
    other_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await asked(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "accumulation" in curves(app))
        before = next(line for line in curves(app).splitlines() if " b 1024 " in line)
        await pilot.press("t", "t", "t", *["left"] * 8)
        assert "at 13 epochs" in curves(app)
        after = next(line for line in curves(app).splitlines() if " b 1024 " in line)
        assert after.split()[-3:] != before.split()[-3:]


async def test_escape_changes_nothing(home: Path) -> None:
    folder = finished_sweep(home)
    other_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        before = curves(app)
        await asked(app, pilot)
        await pilot.press("space", "escape")
        assert isinstance(app.screen, BoardScreen)
        assert curves(app) == before


async def test_without_another_sweep_a_message_is_shown(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: "No other stored sweep" in part(app, "hints"))


async def test_a_deleted_sweep_is_not_overlaid(home: Path) -> None:
    folder, other = finished_sweep(home), other_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await asked(app, pilot)
        shutil.rmtree(other)
        await pilot.press("enter")
        await until(pilot, lambda: "Not overlaid: " in part(app, "hints"))
        assert "no readable sweep" in part(app, "hints")


async def test_an_overlaid_sweep_is_followed_while_it_runs(home: Path) -> None:
    folder = finished_sweep(home)
    recipe, chosen = Recipe(home, OTHER), configurations((8,), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.epochs(trial, 5)
    app = board_on(folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await asked(app, pilot)
            await pilot.press("enter")
            await until(pilot, lambda: "epoch 5" in curves(app))
            recipe.epochs(trial, 9, first=6)
            await until(pilot, lambda: "epoch 9" in curves(app))


async def test_a_comparison_opens_with_the_others_overlaid(home: Path) -> None:
    first, second, third = finished_sweep(home), other_sweep(home), other_sweep(home, THIRD)
    app = BatchscopeApp(home, clock=lambda: NOW)
    async with app.run_test(size=LARGE) as pilot:
        app.open_comparison([first, second, third])
        board = await loaded(pilot)
        assert board.folder == first
        await until(pilot, lambda: "distance" in curves(app))
        assert [source.key for source in board.curves.sources()] == ["", OTHER, THIRD]
        assert "quickstart" in screen_text(app)


async def test_an_app_on_a_sweep_overlays_others(home: Path) -> None:
    first, second = finished_sweep(home), other_sweep(home)
    app = BatchscopeApp(home, sweep=first, others=[second], clock=lambda: NOW)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await until(pilot, lambda: "accumulation" in curves(app))


async def test_a_legend_that_does_not_fit_says_how_much_is_missing(home: Path) -> None:
    app = board_on(wide_sweep(home, 40))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        legend = [line[50:].strip() for line in curves(app).splitlines()[1:] if line[50:].strip()]
        shown = [line for line in legend if line.endswith("n=1")]
        assert legend[-1].endswith(f"… {40 - len(shown)} more")


async def test_a_long_list_of_sweeps_scrolls(home: Path) -> None:
    folder = finished_sweep(home)
    for day in range(10, 30):
        Recipe(home, f"202702{day}-090000-some").open(configurations((8,), seeds=1))
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        screen = await asked(app, pilot)
        picker = screen.query_one(Picker)
        assert picker.size.height == 12
        await pilot.press("end")
        assert picker.key == "sweep:20270210-090000-some"
        await pilot.press("home", "down", "k", "j")
        assert picker.key == "sweep:20270228-090000-some"
        assert "esc cancel" in screen.query_one(KeyLine).text


def test_picture_of_an_overlay(home: Path, snap_compare: Callable[..., bool]) -> None:
    folder = finished_sweep(home)
    other_sweep(home)
    app = board_on(folder)

    async def lay_over(pilot: object) -> None:
        await loaded(pilot)  # type: ignore[arg-type]
        await pilot.press("t")  # type: ignore[attr-defined]
        await asked(app, pilot)
        await pilot.press("enter")  # type: ignore[attr-defined]
        await until(pilot, lambda: "accumulation" in curves(app))  # type: ignore[arg-type]

    assert snap_compare(app, terminal_size=SMALL, run_before=lay_over)

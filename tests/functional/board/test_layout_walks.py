"""Whatever was opened, closed and resized before, a screen looks as after a fresh start."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.terminal.captures import pictures
from tests.functional.board_fixtures import finished_sweep, home
from tests.functional.boards import board_on, loaded, part, still, until
from tests.functional.menu.menu_fixtures import presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets")

SIZES = ((80, 24), (40, 20), (120, 35), (160, 45), (100, 15), (119, 34), (60, 50))
SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(6, 60))]
OPENED = {
    "menu": (("question_mark",), ("E",), ("ctrl+p",), ("slash", "x"), ("E", "question_mark"),
             ("E", "enter", "7"), ("end", "e"), ("end", "D")),
    "board": (("question_mark",), ("ctrl+p",), ("e",), ("3",), ("tab", "question_mark"), ("o",)),
}  # fmt: skip
"""Keys that open something, by the screen where the walk is at home."""


async def settled(pilot: Pilot[str]) -> None:
    """Wait until nothing is left to draw."""
    for _ in range(3):
        await pilot.pause()


def picture(app: BatchscopeApp) -> str:
    """Return what the screen shows."""
    return pictures(app)[".txt"]


async def at_menu(pilot: Pilot[str]) -> None:
    await until(pilot, lambda: "1 stored sweep" in part(pilot.app, "menu-title"))


async def closed(pilot: Pilot[str]) -> None:
    """Close dialogs, editor and filter, and go back to the first entry."""
    while not isinstance(pilot.app.screen, MenuScreen):
        await pilot.press("escape")
        await settled(pilot)
    await pilot.press("escape", "home")
    pilot.app.screen.say("")


async def back_at_first(pilot: Pilot[str]) -> None:
    """Close dialogs, and go back to the first pane among the others."""
    board = pilot.app.screen_stack[1]
    while pilot.app.screen is not board:
        await pilot.press("escape")
        await settled(pilot)
    await pilot.press("escape")
    while board.current is not board.curves:  # type: ignore[attr-defined]
        await pilot.press("tab")
    board._before = None  # type: ignore[attr-defined]
    board.say("")  # type: ignore[attr-defined]


async def walk(
    app: BatchscopeApp,
    place: str,
    chance: random.Random,
    ready: Callable[[Pilot[str]], Awaitable[object]],
    home_again: Callable[[Pilot[str]], Awaitable[None]],
) -> tuple[str, tuple[int, int], list[object]]:
    """Walk at random; return what is shown at the end, its size, and the steps."""
    steps: list[object] = []
    size = chance.choice(SIZES)
    async with app.run_test(size=size) as pilot:
        await ready(pilot)

        for _ in range(chance.randint(2, 5)):
            if chance.random() < 0.7:
                opened = chance.choice(OPENED[place])
                steps.append(opened)
                await pilot.press(*opened)
            if chance.random() < 0.8:
                size = chance.choice(SIZES)
                steps.append(size)
                await pilot.resize_terminal(*size)
                await settled(pilot)
            if chance.random() < 0.6:
                steps.append("back")
                await home_again(pilot)
        await home_again(pilot)
        await settled(pilot)
        return picture(app), size, steps


async def fresh(
    app: BatchscopeApp, size: tuple[int, int], ready: Callable[[Pilot[str]], Awaitable[object]]
) -> str:
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await settled(pilot)
        return picture(app)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_menu(home: Path, seed: int) -> None:
    finished_sweep(home)
    chance = random.Random(seed)
    shown, size, steps = await walk(BatchscopeApp(home), "menu", chance, at_menu, closed)
    assert shown == await fresh(BatchscopeApp(home), size, at_menu), steps


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_board(home: Path, seed: int) -> None:
    folder = finished_sweep(home)
    chance = random.Random(seed)
    shown, size, steps = await walk(board_on(folder), "board", chance, loaded, back_at_first)
    assert shown == await fresh(board_on(folder), size, loaded), steps

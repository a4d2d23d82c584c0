"""Keys that all panes share, and new probes: each is answered, hinted at and drawn."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.containers import VerticalScroll
from textual.widgets import Static

from batchscope.engine.spec import trials_of
from batchscope.tui.config.panes import PANE_KEYS, PANES, SHOWN_PANE_KEYS
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.help import Help
from tests.functional.board_fixtures import (
    EPOCHS,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    probed_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, gradients, loaded, part, still, until

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


TURNS = (
    "Y",
    "alt+y",
    "x",
    "l",
    "t",
    "s",
    "left",
    "plus",
    "minus",
    "0",
    "B",
    "alt+b",
    "g",
    "G",
    "f",
    "n",
    "[",
    "]",
)


async def test_keys_without_a_meaning_in_a_view_say_what_has_one(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("g", "f")
        assert not part(app, "hints").startswith(f" {SHOWN_PANE_KEYS}")
        await pilot.press("g", "n")
        assert "norms" in part(app, "hints")


async def test_a_competition_is_a_picture_and_a_table(home: Path) -> None:
    app = board_on(probed_sweep(home, (8, 16, 64)))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g", "g", "g", "g")
        shown = gradients(app)
        assert "╭ competition 4×16 vs 64 ── at 100 % of the budget (3 of 3) · mean ±" in shown
        for glyph in "●▲■":
            assert shown.count(glyph) == 2
        assert shown.count("one 64") == shown.count("+3×16") == 3
        assert "step cosine   -0.100 ±.299" in shown
        assert "draws         200" in shown


async def test_new_probes_are_drawn_at_once(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((16,), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.probe(trial, 0.0)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("g")
            assert "at 0 % of the budget" in gradients(app)
            assert "of 1)" not in gradients(app)
            recipe.epochs(trial, EPOCHS // 2)
            recipe.probe(trial, 0.5)
            await until(pilot, lambda: "at 50 % of the budget (2 of 2)" in gradients(app))


async def test_a_probe_moves_nothing_but_the_gradients_and_the_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, chosen = Recipe(home), configurations((16,), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.probe(trial, 0.0)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=LARGE) as pilot:
            board = await loaded(pilot)
            await pilot.press("g")
            drawn: list[str] = []
            for pane in board.panes.values():
                monkeypatch.setattr(pane, "show", lambda _, name=pane.NAME: drawn.append(name))
            recipe.probe(trial, 0.5)
            before = board.view.moved["probes"]
            await until(pilot, lambda: board.view.moved["probes"] > before)
            assert set(drawn) - {"trials"} == {"gradients", "log"}


@pytest.mark.parametrize("key", TURNS)
@pytest.mark.parametrize("sweep", [finished_sweep, probed_sweep])
async def test_every_key_is_answered(home: Path, sweep: Callable[[Path], Path], key: str) -> None:
    app = board_on(sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        before = [pane.options() for pane in board.panes.values()]
        await pilot.press("7", key)
        changed = [
            pane.NAME
            for pane, options in zip(board.panes.values(), before, strict=True)
            if pane.options() != options
        ]
        if changed:
            assert board.current.NAME in changed
            assert part(app, "hints").startswith(f" {SHOWN_PANE_KEYS} pane  ")
        else:
            assert board.current.NAME == "log"
            assert not part(app, "hints").startswith(f" {SHOWN_PANE_KEYS} pane")


async def test_the_hints_are_those_of_the_pane(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        hints = part(app, "hints")
        assert hints == (
            f" {SHOWN_PANE_KEYS} pane  y metric  x axis  l log  t train  m menu  e export"
            "  ? help  q leave"
        )
        await pilot.press("2")
        assert "  b metric  m menu  e export  a add size  ? help  q leave" in part(app, "hints")
        await pilot.press("4")
        assert "  g G view  f share  n normalize  [ ] moment  m menu" in part(app, "hints")
        assert part(app, "hints").endswith("  ? help  q leave")
        await pilot.press("5")
        assert part(app, "hints") == (
            f" {SHOWN_PANE_KEYS} pane  m menu  e export  space hide  i isolate  a add size"
            "  ? help  q leave"
        ), "a trial that has finished is neither skipped nor run again"


async def test_the_help_is_read_to_its_end_on_a_small_screen(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        dialog = app.screen.query_one(VerticalScroll)
        assert "scroll" in str(dialog.border_subtitle)
        await pilot.press("end")
        await until(pilot, lambda: dialog.scroll_y == dialog.max_scroll_y)


@pytest.mark.parametrize("name", [entry.name for entry in PANES if entry.commands][:3])
async def test_the_help_begins_with_the_keys_of_the_current_pane(home: Path, name: str) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        if name != board.current.NAME:
            await pilot.press(PANE_KEYS[name])
        await until(pilot, lambda: name == board.current.NAME)
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        text = str(app.screen.query_one(Static).render())
        assert text.startswith(f"Pane {PANE_KEYS[name]}: {name}")
        assert text.index("Sweep") < text.index("Everywhere")


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (80, 10), (120, 26), (250, 70)])
async def test_any_figure_at_any_size(home: Path, size: tuple[int, int]) -> None:
    app = board_on(probed_sweep(home, (8, 16, 64)))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await pilot.resize_terminal(*size)
        await pilot.press(*"YYYlxlxlxlx", *"BBBBBBB", *"ffngnggg[[", "down", "end", "g")
        assert app.screen is board
        assert isinstance(board, BoardScreen)

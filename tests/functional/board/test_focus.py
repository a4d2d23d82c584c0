"""Hidden and isolated configurations in all panes, and metrics that are found by name."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchscope.tui.panes.trials.pane import TrialsPane
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.figure_chooser import FigureChooser
from tests.functional.board_fixtures import Recipe, configurations, finished_sweep, wide_sweep
from tests.functional.board_fixtures import home as home
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part

MIDDLE = (120, 35)
MOST_KEYS = 6


def legend(board: BoardScreen) -> dict[str, str]:
    """Return the lines of the legend by the label of their configuration."""
    lines = [line[board.curves._legend_from + 1 :] for line in board.curves.text.splitlines()]
    cut = [line.lstrip("│ ›").split() for line in lines]
    return {words[1]: words[0] for words in cut if len(words) > 2 and words[1].isdigit()}


def shown(board: BoardScreen) -> set[str]:
    """Return the labels of the configurations that are shown."""
    return {board.view.marks[name].label for name in board.view.shown}


def drawn(board: BoardScreen) -> set[str]:
    """Return the labels of the configurations with a curve."""
    return {one.mark.label for one in board.curves._curves()}


async def press(pilot: Pilot[str], *keys: str) -> None:
    """Press keys, at most as many as a person has patience for."""
    assert len(keys) <= MOST_KEYS
    await pilot.press(*keys)
    await pilot.pause()


async def test_two_of_thirty_are_isolated_and_a_figure_is_found_in_six_keys(home: Path) -> None:
    app = board_on(wide_sweep(home, 30))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        finals = {
            board.view.marks[name].label: board.view.state.replicates(name)[0].records[-1]
            for name in board.view.order
        }
        await press(pilot, "home", "i", "end", "space")
        assert shown(board) == drawn(board) == {"1", "30"}
        assert "2 of 30 shown, i shows all" in part(app, "status")
        for label in ("1", "30"):
            line = next(
                each
                for each in part(app, "pane-curves").splitlines()
                if f" {label} {finals[label].test_accuracy:.4f}" in each
            )
            assert "n=1" in line
        await press(pilot, "y", *"nois", "enter")
        assert board.curves.figure_name == "gradient noise scale"
        assert part(app, "pane-curves").splitlines()[0].startswith(" gradient noise scale")
        await press(pilot, "i")
        assert len(shown(board)) == 30
        assert "shown" not in part(app, "status")
        await press(pilot, "escape", "pagedown", "pagedown", "i", "down", "space")
        assert shown(board) == {"20", "21"}


async def test_the_legend_scrolls_with_its_cursor(home: Path) -> None:
    app = board_on(wide_sweep(home, 30))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        assert "›" not in board.curves.text
        for keys, label in (("down", "1"), ("end", "30"), ("up", "29"), ("home", "1")):
            await press(pilot, keys)
            (line,) = [each for each in board.curves.text.splitlines() if "›" in each]
            assert line.partition("›")[2].split()[1] == label
        await press(pilot, "space", "down", "down", "space")
        assert {"1", "3"} == {str(n) for n in range(1, 31)} - shown(board)
        marks = legend(board)
        assert {label for label, glyph in marks.items() if glyph == "·"} == {"1", "3"}
        await press(pilot, "up")
        await press(pilot, "escape")
        assert "›" not in board.curves.text


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
async def test_what_is_hidden_is_in_no_pane_and_dim_among_the_trials(
    home: Path, size: tuple[int, int]
) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        board = await loaded(pilot)
        await press(pilot, "down", "down", "space")
        assert shown(board) == drawn(board) == {"8", "128", "512"}
        for name, key in (("bars", "2"), ("memory", "3"), ("gradients", "4")):
            await press(pilot, key)
            text = board.panes[name].text.split()
            assert "8" in text
            assert "32" not in text, name
            assert all(line[1] != "32" for line in board.panes[name].table() if len(line) > 1)
        await press(pilot, "5")
        rows = [line for line in board.panes["trials"].text.splitlines() if " s0 " in line]
        assert [("· " in line) for line in rows] == [False, True, False, False]


async def test_a_speedup_over_a_hidden_batch_size_is_not_shown(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await press(pilot, "down", "down", "space", "2")
        lines = board.panes["bars"].text.splitlines()
        ratios = {label: next(x for x in lines if f" {label} " in x) for label in ("128", "512")}
        assert "÷" not in ratios["128"], "32 is hidden"
        assert "÷" in ratios["512"]


async def test_the_selected_trial_is_a_configuration_too(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await press(pilot, "5", "end", "i")
        trials = board.panes["trials"]
        assert isinstance(trials, TrialsPane)
        assert trials.trial is not None
        assert shown(board) == {str(trials.trial.batch_size)} == {"512"}
        await press(pilot, "space")
        assert shown(board) == {"512"}, "the last one stays"
        assert "stays" in part(app, "hints")
        await press(pilot, "home", "space")
        assert shown(board) == {"8", "512"}


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
async def test_a_click_in_the_legend_hides_and_a_double_click_isolates(
    home: Path, size: tuple[int, int]
) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        board = await loaded(pilot)

        async def click(label: str, times: int = 1) -> None:
            lines = board.curves.text.splitlines()
            left = board.curves._legend_from + 2
            at = next(
                at for at, each in enumerate(lines) if label in each[left : left + 10].split()
            )
            await pilot.click(board.curves, offset=(left + 3, at), times=times)
            await pilot.pause()

        seen = board.one
        await click("128")
        assert shown(board) == {"8", "32", "512"}
        await click("32", times=2)
        assert shown(board) == {"32"}
        assert board.one == seen, "the pane keeps its size"
        await click("8")
        assert shown(board) == {"8", "32"}


async def test_nothing_is_hidden_before_something_is_selected(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        for keys in (("space",), ("i",), ("2", "space"), ("i",)):
            await press(pilot, *keys)
            assert "Select" in part(app, "hints")
            assert len(shown(board)) == 4


async def test_curves_of_other_sweeps_are_hidden_and_isolated_alike(home: Path) -> None:
    other = finished_sweep(home, "20270114-080000-other")
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        await board.lay_over([other])
        await pilot.pause()
        await press(pilot, "end", "i")
        (one,) = [each for each in board.curves._curves() if not each.train]
        assert (one.source.key, one.mark.label) == (other.name, "512")
        assert "every configuration is hidden" in board.panes["bars"].text
        assert "0 of 4 shown" in part(app, "status")
        await press(pilot, "home", "space")
        assert len([each for each in board.curves._curves() if not each.train]) == 2
        assert shown(board) == {"8"}


async def test_a_configuration_without_epochs_keeps_the_legend(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations()
    recipe.open(chosen)
    recipe.ready(chosen)
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await press(pilot, "down", "i")
        assert shown(board) == {"8"}
        assert "no epoch has ended yet" in board.curves.text
        assert set(legend(board)) == {"8", "32", "128", "512"}


@pytest.mark.parametrize("size", [(40, 12), SMALL, LARGE])
async def test_a_metric_is_chosen_from_a_list(home: Path, size: tuple[int, int]) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        board = await loaded(pilot)
        await press(pilot, "2", "y")
        chooser = app.screen
        assert isinstance(chooser, FigureChooser)
        await press(pilot, "down", "enter")
        assert (board.curves.figure_name, board.current.NAME) == ("loss", "curves")
        await press(pilot, "y", "down", "escape")
        assert board.curves.figure_name == "loss"
        await press(pilot, "y", *"/gap", "enter")
        assert board.curves.figure_name == "generalization gap"
        await press(pilot, "y", *"qq", "enter")
        assert isinstance(app.screen, FigureChooser), "nothing has this name"
        await press(pilot, "escape", "b", *"rad", "enter")
        assert "rad" in board.panes["bars"].heading
        await press(pilot, "y")
        picker = app.screen.query_one("#figures")
        await pilot.click(picker, offset=(6, 0), times=2)
        await pilot.pause()
        assert not isinstance(pilot.app.screen, FigureChooser)

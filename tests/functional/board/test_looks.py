"""Details of the board: the first key, columns that are aligned."""

from pathlib import Path

import pytest

from batchscope.engine.experiment.claims import LEFT_OUT
from batchscope.engine.journal import events as ev
from batchscope.engine.planning.micro_batch import Shape
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.panes.memory import _measured
from batchscope.tui.render.styled_text import text_of, width_of
from tests.functional.board_fixtures import Recipe, configurations, home, running_sweep
from tests.functional.boards import loaded, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
SMALL = (80, 24)


def board_on(folder: Path) -> BatchscopeApp:
    return BatchscopeApp(folder.parent.parent, sweep=folder)


async def test_the_digit_of_the_first_pane_shows_it_and_later_goes_back(home: Path) -> None:
    app = board_on(running_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        for keys, shown in (("1", "curves"), ("1", "curves"), ("6", "findings"), ("6", "curves")):
            await pilot.press(keys)
            assert app.screen.query_one(f"#pane-{shown}").display


def test_paces_stand_below_each_other_whether_marked_or_not() -> None:
    shape = Shape(micro_batch_size=8, peak_bytes=1 << 20, samples_per_second=1000.0)
    marked, bare = (_measured(3 << 20, shape, 900.0, mark) for mark in ("×3", "  "))
    assert width_of(marked) == width_of(bare)
    assert "900/s" in text_of(bare), "the pace of epochs, not that of the measured step"
    assert width_of(_measured(3 << 20, shape, 900.0, "")) == width_of(bare) - 3


async def test_claims_that_are_left_out_are_told_among_the_findings(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations()
    recipe.say(
        ev.SweepOpened(
            id=recipe.folder.name,
            preset="quickstart",
            title="A title",
            question="A question?",
            source="",
            configurations=chosen,
            notes=(f"{LEFT_OUT}: 'one'", f"{LEFT_OUT}: 'other'", "something else"),
        )
    )
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("6")
        await pilot.pause()
        told = " ".join(part(app, "pane-findings").split())
        assert "! 2 claims of the preset are left out" in told


async def test_help_leaves_no_fringe_of_what_is_behind_on_a_small_screen(home: Path) -> None:
    app = board_on(running_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("?")
        await pilot.pause()
        assert app.screen.query_one(".dialog").region.width == SMALL[0]

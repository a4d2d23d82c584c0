"""Gradient norms by layer on the board."""

from pathlib import Path

import pytest

from batchscope.tui.screens.board import BoardScreen
from tests.functional.board_fixtures import finished_sweep, home, layered_sweep
from tests.functional.boards import LARGE, SMALL, board_on, gradients, loaded, still

__all__ = ["home", "still"]

pytestmark = pytest.mark.usefixtures("still")

LAYERS = {"conv1": 160, "norm1": 32, "linear1": 1290}


async def test_g_shows_the_share_of_each_layer(home: Path) -> None:
    """1 : 3 : 5 at a batch of 8, whose first layer has a norm of 1 and not of 1/4 as at 32."""
    app = board_on(layered_sweep(home, LAYERS))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g")
        title, head, *rows = gradients(app).splitlines()
        assert "by layer" in title
        assert head.split() == ["layer", "●", "8", "▲", "32", "■", "128", "◆", "512"]
        assert [row.split()[0] for row in rows[:3]] == list(LAYERS)
        percents = [[int(word) for word in row.split() if word.isdigit()] for row in rows[:3]]
        assert percents == [[11, 1, 0, 0], [33, 37, 37, 37], [56, 62, 62, 62]]


async def test_n_goes_through_share_mean_and_variation(home: Path) -> None:
    app = board_on(layered_sweep(home, LAYERS))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g")
        share = gradients(app)
        await pilot.press("n")
        assert "mean" in gradients(app).splitlines()[0]
        await pilot.press("f")
        mean = sum(1 / epoch for epoch in range(1, 5)) / 4  # of the first fifth of twenty epochs
        assert gradients(app).splitlines()[2].split()[1] == f"{mean:.2f}"
        await pilot.press("n")
        assert "cv" in gradients(app).splitlines()[0]
        await pilot.press("n", "f", "f")
        assert gradients(app) == share


async def test_as_many_batch_sizes_are_shown_as_there_is_room_for(home: Path) -> None:
    app = board_on(layered_sweep(home, LAYERS))
    async with app.run_test(size=(44, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g")
        assert "3 of 4" in gradients(app).splitlines()[0]
        assert gradients(app).splitlines()[1].split() == ["layer", "●", "8", "■", "128", "◆", "512"]


async def test_many_layers_are_scrolled_through(home: Path) -> None:
    app = board_on(layered_sweep(home, {f"conv{at}": 9 for at in range(1, 41)}))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g")
        assert "conv40" not in gradients(app)
        await pilot.press("end")
        for _ in range(40):
            await pilot.press("down")
        assert "conv40" in gradients(app)


async def test_c_copies_all_layers(home: Path) -> None:
    app = board_on(layered_sweep(home, LAYERS))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g", "c")
        await pilot.pause()
        assert isinstance(app.screen, BoardScreen)
        (copied,) = (app.home / "copies").iterdir()
        lines = copied.read_text().splitlines()
        assert lines[0].split("\t")[:3] == ["layer", "weights", "configuration"]
        assert len(lines) == 1 + 4 * len(LAYERS)


async def test_a_sweep_without_them_has_no_such_view(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        before = gradients(app)
        await pilot.press("g")
        assert gradients(app) == before

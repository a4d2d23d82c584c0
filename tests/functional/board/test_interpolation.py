"""The board of a sweep that measures sharpness and draws lines between two solutions."""

import math
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.instrument_events import LinePoint
from batchscope.engine.spec import Interpolation, Sharpness, Trial, trials_of
from tests.functional.board.ascii_board import LARGE, SMALL, board_on
from tests.functional.board_fixtures import Recipe, configurations, finished_sweep, home
from tests.functional.boards import loaded, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
SIZES = (64, 512)
LINE = Interpolation(start="b64", end="b512")


def sharp_sweep(home: Path, drawn: bool = True, status: ev.TrialStatus = "finished") -> Path:
    """Two seeds of two batch sizes; a basin at each end of the line, a ridge between them."""
    recipe = Recipe(home, "20270115-080000-sharpness")
    recipe.claims = ()
    asked = Sharpness(epsilon=(1e-3, 5e-4))
    chosen = tuple(
        replace(each, settings=replace(each.settings, sharpness=asked))
        for each in configurations(SIZES, seeds=2)
    )
    recipe.open(chosen)
    opened = ev.SweepOpened(
        id=recipe.folder.name,
        preset="sharpness",
        title="t",
        question="q",
        source="",
        configurations=chosen,
        interpolation=LINE,
    )
    recipe.say(opened)
    recipe.ready(chosen)
    for configuration in chosen:
        for trial in trials_of(configuration):
            recipe.start(trial)
            recipe.epochs(trial, 2)
            for epsilon in asked.epsilon:
                recipe.say(sharpness_of(trial, epsilon))
            recipe.end(trial, status)
    for seed in range(2 if status == "finished" else 0):
        points = tuple(point(alpha, seed) for alpha in LINE.alphas)
        line = ev.Interpolated(
            start=f"b64-s{seed}", end=f"b512-s{seed}", points=points, samples=100
        )
        recipe.say(line if drawn else replace(line, points=(), reason="no weights"))
    recipe.close("finished", 4, 4)
    return recipe.folder


def sharpness_of(trial: Trial, epsilon: float) -> ev.SharpnessMeasured:
    """Twelve for 64 images and twenty-four for 512 at a thousandth, a few percent apart."""
    value = 12.0 * (2 if trial.batch_size == 512 else 1) * epsilon / 1e-3 * (1 + trial.seed / 50)
    return ev.SharpnessMeasured(
        trial=trial.id,
        attempt=1,
        steps=9,
        epsilon=epsilon,
        dimensions=None,
        samples=100,
        loss=0.1,
        highest_loss=0.1 + 1.1 * value / 100,
        sharpness=value,
        evaluations=11,
        iterations=10,
        seconds=0.3,
    )


def point(alpha: float, seed: int) -> LinePoint:
    away = min(abs(alpha), 2 * abs(alpha - 1))
    loss = (1 + seed / 10) * 0.02 * math.exp(4 * away)
    return LinePoint(alpha, loss / 2, math.exp(-loss / 2), loss, math.exp(-loss))


async def shown(pilot: Pilot[str], *keys: str) -> str:
    """Press keys in the pane of the bars, and read it."""
    await loaded(pilot)
    await pilot.press("2", *keys)
    return part(pilot.app, "pane-bars")


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_lines_and_sharpness_are_the_last_figures(
    home: Path, size: tuple[int, int], ascii_only: bool
) -> None:
    app = board_on(sharp_sweep(home), ascii_only)
    async with app.run_test(size=size) as pilot:
        text = await shown(pilot, "alt+b")
        assert "accuracy between solutions" in text
        await pilot.press("alt+b")
        text = part(app, "pane-bars")
        first, second, alpha = ("A", "B", "a") if ascii_only else ("●", "▲", "α")
        assert "loss between solutions" in text
        assert f"{first} 64 at {alpha} = 0  {second} 512 at {alpha} = 1" in text
        for glyph in (first, second):
            assert any(glyph in line and "at" not in line for line in text.splitlines()), text
        assert text.isascii() == ascii_only
        await pilot.press("alt+b")
        text = part(app, "pane-bars")
        assert "12.120" in text
        assert "24.240" in text
        epsilon = "e" if ascii_only else "ε"
        assert f"{epsilon} = 0.001" in " ".join(text.split())


async def test_what_is_drawn_can_be_copied(home: Path) -> None:
    app = board_on(sharp_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "alt+b", "alt+b")
        pane = app.screen.current  # type: ignore[attr-defined]
        head, first, *rest = pane.copied().splitlines()
        assert head.split("\t") == ["alpha", "images", "loss", "standard deviation", "seeds"]
        alpha, images, loss, _, seeds = first.split("\t")
        assert (alpha, images, seeds) == ("-1", "test", "2")
        assert float(loss) == pytest.approx(1.05 * 0.02 * math.exp(4), rel=1e-6)
        assert len(rest) == 49


async def test_a_line_that_could_not_be_drawn_says_why(home: Path) -> None:
    app = board_on(sharp_sweep(home, drawn=False))
    async with app.run_test(size=SMALL) as pilot:
        assert "no weights" in await shown(pilot, "alt+b")


async def test_a_line_that_never_comes_is_not_waited_for(home: Path) -> None:
    app = board_on(sharp_sweep(home, status="diverged"))
    async with app.run_test(size=SMALL) as pilot:
        told = await shown(pilot, "alt+b")
        assert "No results: all 4 trials diverged" in told
        assert " yet" not in told


async def test_without_them_there_are_no_such_figures(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        text = await shown(pilot, "alt+b")
        assert "cosine of successive gradients" in text

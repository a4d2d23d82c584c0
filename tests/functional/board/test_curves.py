"""The pane of curves: the spread over the seeds, smoothing, and what the keys make of them."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pytest
from msgspec.structs import replace
from textual.geometry import Region

from batchscope.engine.analysis.smoothing import smoothed
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Trial, trials_of
from batchscope.engine.sweeps.store import load_state
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.panes.curves.options import STRENGTHS
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.panes.curves.series import gathered
from batchscope.tui.render.axis import Axis
from batchscope.tui.render.braille import Band, Grid, Series
from tests.functional.board_fixtures import (
    EPOCHS,
    SIZES,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    record_of,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part, still, until
from tests.known import known

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


def curves(app: BatchscopeApp) -> str:
    return part(app, "pane-curves")


def plotted(app: BatchscopeApp) -> list[str]:
    """The rows of the plot on a small screen, without caption, legend and x axis."""
    lines = curves(app).splitlines()[1:-2]
    return [line.partition("┤" if "┤" in line[:8] else "│")[2][:47].ljust(47) for line in lines]


def pane_of(app: BatchscopeApp) -> CurvesPane:
    return app.screen.query_one(CurvesPane)


def rough(trial: Trial, epoch: int) -> ev.EpochRecord:
    """Accuracies that jump from epoch to epoch, with seeds far from each other."""
    high = 0.3 + 0.1 * trial.seed + 0.02 * epoch - 0.25 * (trial.batch_size > 8)
    return replace(
        record_of(trial, epoch),
        test_accuracy=high + 0.05 * (-1) ** epoch,
        train_accuracy=high + 0.1,
    )


def rough_sweep(home: Path, sizes: tuple[int, ...] = (8,), seeds: int = 3) -> Path:
    """All trials done, of which a band is worth looking at."""
    recipe, chosen = Recipe(home), configurations(sizes, seeds)
    recipe.open(chosen)
    recipe.ready(chosen)
    for trial in (trial for configuration in chosen for trial in trials_of(configuration)):
        recipe.start(trial)
        records = tuple(rough(trial, epoch) for epoch in range(1, EPOCHS + 1))
        recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=records), 1.0)
        recipe.end(trial)
    recipe.close("finished", len(chosen) * seeds, len(chosen) * seeds)
    return recipe.folder


def after(*keys: str) -> Callable[..., object]:
    async def press(pilot: object) -> None:
        await loaded(pilot)  # type: ignore[arg-type]
        await pilot.press(*keys)  # type: ignore[attr-defined]

    return press


# The spread


def stippled(app: BatchscopeApp) -> int:
    """Cells of the plot that show nothing but the band."""
    return sum(line.count("⢂") for line in plotted(app))


async def test_the_spread_over_the_seeds_is_a_band_that_lies_behind(home: Path) -> None:
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t")
        banded = plotted(app)
        assert "±1 sd ⢂" in curves(app)
        assert stippled(app) > 100
        await pilot.press("t")
        assert "±1 sd" not in curves(app)
        assert stippled(app) == 0
        for with_band, without in zip(banded, plotted(app), strict=True):
            for one, other in zip(with_band, without, strict=True):
                assert one == other or other == " ", "a band changes no cell that a curve passes"


async def test_the_band_is_one_deviation_to_either_side(home: Path) -> None:
    """Seeds 0.1 apart deviate by 0.1: at the last epoch from 0.75 to 0.95 around 0.85."""
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t", "l", "l", "l")
        (one,) = gathered(pane_of(app).view, pane_of(app).sources(), pane_of(app).lens)
        assert one.shown.mean[-1] == pytest.approx(0.85)
        assert one.shown.deviation.tolist() == pytest.approx([0.1] * EPOCHS)


async def test_a_single_seed_has_no_band(home: Path) -> None:
    app = board_on(rough_sweep(home, seeds=1))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert "sd" not in curves(app)
        before = curves(app)
        await pilot.press("t")
        assert "train" not in curves(app)
        await pilot.press("t")
        assert curves(app) == before


# Smoothing


async def test_s_goes_through_the_strengths_and_back(home: Path) -> None:
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        pictures = [curves(app)]
        for strength in (*STRENGTHS[1:], 0.0):
            await pilot.press("s")
            assert ("smoothed" in curves(app)) == bool(strength)
            assert f"smoothed {strength:g}" in curves(app) or not strength
            pictures.append(curves(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == len(STRENGTHS)


async def test_what_is_smoothed_is_drawn_over_what_was_measured(home: Path) -> None:
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t", "t", "s")
        assert "smoothed 0.6 over raw" in curves(app)
        pane = pane_of(app)
        (one,) = gathered(pane.view, pane.sources(), pane.lens)
        expected = smoothed(one.raw.mean.tolist(), STRENGTHS[1])
        assert one.shown.mean.tolist() == expected
        lines = pane.render_lines(Region(0, 0, *pane.size))
        colours = {
            str(segment.style.color)
            for line in lines
            for segment in line
            if segment.style and any("⠀" < letter <= "⣿" for letter in segment.text)
        }
        assert len(colours) > 1, "the measured line stands back"
        assert " 8 0.8500 ±.1000" in curves(app), "the legend tells what was measured"


# The cursor


async def test_the_cursor_reads_off_what_was_measured_where_it_stands(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t", "t", "left")
        assert "at 20 epochs" in curves(app)
        await pilot.press("left", "left")
        assert "accuracy  at 18 epochs  test ━  over epochs, linear" in curves(app)
        assert "measured test" in curves(app)
        hair = {line.index("│") for line in plotted(app) if "│" in line}
        assert len(hair) == 1, "one upright line"
        trials = load_state(folder).replicates
        for size in SIZES:
            measured = [known(trial.records[17].test_accuracy) for trial in trials(f"b{size}")]
            spread = f"{stdev(measured):.4f}".removeprefix("0")
            assert f"{size:>3} {fmean(measured):.4f} ±{spread} n=3" in curves(app)
        await pilot.press("t")
        assert "test   train" in curves(app)
        for size in SIZES:
            test = fmean(known(trial.records[17].test_accuracy) for trial in trials(f"b{size}"))
            train = fmean(known(trial.records[17].train_accuracy) for trial in trials(f"b{size}"))
            assert f"{size:>3} {test:.4f} {train:.4f} n=3" in curves(app)


async def test_smoothing_changes_no_reading(home: Path) -> None:
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t", "right", "right", "right")
        assert " 8 0.4100 ±.1000" in curves(app)
        await pilot.press("s", "s")
        assert " 8 0.4100 ±.1000" in curves(app)


async def test_escape_and_the_ends_take_the_cursor_away(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        before = curves(app)
        await pilot.press("1", "left", "escape")
        assert " at " not in curves(app).splitlines()[0]
        assert pane_of(app).size.width == LARGE[0], "the pane stays large"
        await pilot.press("escape")
        assert curves(app) == before
        await pilot.press("left", "right")
        assert curves(app) == before
        await pilot.press("right", "shift+right")
        assert "at 11 epochs" in curves(app)
        await pilot.press("shift+left", "left")
        assert curves(app) == before


async def test_the_cursor_waits_for_curves(home: Path) -> None:
    app = board_on(Recipe(home).folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("left")
        assert "no curve to read" in part(app, "hints")
        await pilot.press("plus")
        assert "Too few points" in part(app, "hints")


async def test_where_a_curve_has_not_begun_there_is_no_value(home: Path) -> None:
    """Over seconds, a batch of 8 ends its first epoch after 0.21 s, one of 512 after 0.02 s."""
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("x", "x", "x", "l", "right")
        assert "at 24.0 ms" in curves(app)
        lines = curves(app).splitlines()
        assert "● " in lines[2]
        assert lines[2].rstrip().endswith("8 –")
        assert "◆ 512 0." in lines[5]
        await pilot.press("x")
        assert " at " not in curves(app).splitlines()[0], "another axis, another place"


# Zoom


def ends(app: BatchscopeApp) -> tuple[str, str]:
    """The first and the last label of the x axis on a small screen."""
    first, *_, last = curves(app).splitlines()[-1].split()
    return first, last


async def test_zoom_halves_the_axis_up_to_the_newest_and_zero_shows_all(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        whole = curves(app)
        assert ends(app) == ("0", "20")
        await pilot.press("plus")
        assert "over epochs, linear, ×2" in curves(app)
        assert ends(app) == ("10", "20")
        await pilot.press("equals_sign")
        assert ends(app) == ("15", "20")
        await pilot.press("minus", "minus")
        assert curves(app) == whole
        await pilot.press("plus", "plus", "0")
        assert curves(app) == whole
        for key in ("minus", "0"):
            await pilot.press(key)
            assert "whole x axis" in part(app, "hints")
        await pilot.press(*["plus"] * 4)
        assert "Too few points" in part(app, "hints")
        assert "×8" in curves(app)


async def test_zoom_is_around_the_cursor_which_takes_the_axis_along(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(*["right"] * 10, "plus", "plus")
        assert "at 10 epochs" in curves(app)
        assert ends(app) == ("8", "12")
        await pilot.press(*["left"] * 4)
        assert "at 6 epochs" in curves(app)
        assert ends(app) == ("5", "9"), "7 was outside: it became the middle"
        await pilot.press("escape")
        assert ends(app) == ("5", "9")


async def test_the_y_axis_follows_what_is_visible(home: Path) -> None:
    app = board_on(rough_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("t", "t")

        def lowest() -> float:
            labels = [line.split()[0] for line in curves(app).splitlines() if "┤" in line]
            return float(labels[-1])

        before = lowest()
        await pilot.press("plus", "plus")
        assert before < 0.45
        assert lowest() >= 0.65


async def test_a_zoom_at_the_end_follows_a_sweep_that_grows(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((8,), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.epochs(trial, 10)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("plus", "plus")
            assert ends(app) == ("5", "10")
            recipe.epochs(trial, 15, first=11)
            await until(pilot, lambda: ends(app) == ("10", "15"))


# What a redraw costs


async def test_a_new_epoch_draws_its_own_curves_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, chosen = Recipe(home), configurations((8, 32, 128), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    trials = [trials_of(configuration)[0] for configuration in chosen]
    for trial in trials:
        recipe.start(trial)
        recipe.epochs(trial, 10)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            drawn: list[str] = []
            masks_of = Grid.masks_of

            def counted(grid: Grid, one: Series | Band, x: Axis, y: Axis) -> object:
                drawn.append(one.style)
                return masks_of(grid, one, x, y)

            monkeypatch.setattr(Grid, "masks_of", counted)
            await pilot.press("left", "escape")
            assert drawn == [], "a cursor moves no curve"
            recipe.epochs(trials[1], 11, first=11)
            await until(pilot, lambda: "epoch 11" in curves(app))
            assert sorted(drawn) == ["s1", "s1-"]


# Pictures


def test_picture_of_bands(home: Path, snap_compare: Callable[..., bool]) -> None:
    app = board_on(rough_sweep(home, (8, 32)))
    assert snap_compare(app, terminal_size=SMALL, run_before=after("t", "s"))


def test_picture_of_the_cursor(home: Path, snap_compare: Callable[..., bool]) -> None:
    app = board_on(finished_sweep(home))
    assert snap_compare(app, terminal_size=SMALL, run_before=after("t", *["left"] * 9))


def test_picture_of_smoothed_curves(home: Path, snap_compare: Callable[..., bool]) -> None:
    app = board_on(finished_sweep(home))
    assert snap_compare(app, terminal_size=LARGE, run_before=after("1", "s", "s"))

"""Every figure of the board: curves over any axis, and bars."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.curves import curve
from batchscope.engine.findings.configuration_summary import bars
from batchscope.engine.journal import events as ev
from batchscope.engine.metrics.log_fit import log_fit
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.store import load_state
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.render.units import significant
from tests.functional.board_fixtures import (
    EPOCHS,
    SIZES,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    probed_sweep,
    record_of,
    running_sweep,
    wide_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part, still, until

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


FIGURES = (
    "loss",
    "generalization gap",
    "distance from init",
    "weight norm",
    "mean gradient norm",
    "gradient norm cv",
    "gradient noise scale",
    "mean update norm",
    "learning rate",
    "batch size",
    "cosine of successive gradients",
    "accuracy",
)
BARS = (
    ("step time", "step_seconds"),
    ("test accuracy", "test_accuracy"),
    ("generalization gap", "generalization_gap"),
    ("distance from init", "distance_from_init"),
    ("weight norm", "weight_norm"),
    ("gradient norm cv", "grad_norm_cv"),
    ("gradient noise scale", "noise_scale"),
    ("SGD noise scale", "sgd_noise_scale"),
    ("cosine of successive gradients", "gradient_cosine"),
)


def curves(app: BatchscopeApp) -> str:
    return part(app, "pane-curves")


async def test_y_goes_through_all_figures_and_back(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        pictures = [curves(app)]
        for name in FIGURES:
            await pilot.press("Y")
            assert curves(app).splitlines()[0].startswith(f" {name}  ")
            pictures.append(curves(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == len(FIGURES)
        await pilot.press("alt+y")
        assert FIGURES[-2] in curves(app)


async def test_the_frame_and_the_tab_name_the_figure(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("Y", "Y", "Y")
        assert curves(app).startswith("╭ distance from init ── ±1 sd ⢂  over epochs, linear ─")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "1 distance 2 time 3 memory" in part(app, "tabs"))


async def test_x_goes_through_all_axes_and_back(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        pictures = [curves(app)]
        for name in ("steps", "samples", "seconds of training", "distance from init", "epochs"):
            await pilot.press("x")
            assert f"over {name}, linear" in curves(app)
            pictures.append(curves(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == 5


async def test_the_axes_end_where_the_budget_does(home: Path) -> None:
    """3,600 steps of 8 are 20 epochs of 1,437 images; 512 takes 60 steps for them."""
    app = board_on(running_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        for end in ("20", "3,000", "25,000"):
            assert end in curves(app).splitlines()[-2]
            await pilot.press("x")


async def test_every_figure_has_a_logarithm_of_x_and_of_y(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("Y", "x")
        pictures = [curves(app)]
        for told in ("x log", "y log", "linear"):
            await pilot.press("l")
            assert f"over steps, {told}" in curves(app)
            pictures.append(curves(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == 3


async def test_what_has_no_logarithm_is_left_out_and_told(home: Path) -> None:
    app = board_on(gaps(home, 0.02, -0.01))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("Y", "Y", "l", "l")
        assert "generalization gap  over epochs, y log, values ≤ 0" in curves(app)
        await pilot.press("Y")
        assert "without" not in curves(app)


async def test_what_has_no_train_curve_says_so(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("Y")
        assert "train ╌" in curves(app)
        before = curves(app)
        await pilot.press("t")
        assert curves(app) != before
        await pilot.press("Y")
        assert "train" not in curves(app)
        assert "±1 sd ⢂" in curves(app)
        await pilot.press("t")
        assert "±1 sd" not in curves(app)


async def test_what_has_neither_train_curve_nor_spread_says_so(home: Path) -> None:
    app = board_on(wide_sweep(home, 2))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("Y", "Y", "t")
        assert "No train curve of the generalization gap, and no spread" in part(app, "hints")


async def test_distance_over_log_steps_has_its_fit_in_the_legend(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("Y", "Y", "Y", "x", "l")
        shown = curves(app)
        assert "d = a + b·ln steps" in shown
        state = load_state(folder)
        for size in SIZES:
            points = curve(state, f"b{size}", lambda r: r.distance_from_init, "steps")
            found = log_fit(zip(points.x.tolist(), points.mean.tolist(), strict=True))
            assert found
            assert f"{size:>3} b {significant(found.slope)}" in shown
            assert f"R² {found.r2:.4f}" in shown
        await pilot.press("l")
        assert "R²" not in curves(app)


async def test_a_fit_waits_for_three_epochs(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((8,), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.epochs(trial, 2)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("Y", "Y", "Y", "x", "l")
            assert "8 –" in curves(app)
            recipe.epochs(trial, 3, first=3)
            await until(pilot, lambda: "R²" in curves(app))


def mnist(home: Path, sizes: tuple[int, ...]) -> Path:
    recipe, chosen = Recipe(home), configurations(sizes, seeds=1, data="mnist")
    recipe.open(chosen)
    recipe.ready(chosen)
    for configuration in chosen:
        recipe.whole(trials_of(configuration)[0])
    recipe.close("finished", len(chosen), len(chosen))
    return recipe.folder


async def test_the_best_known_accuracy_is_marked_where_it_is_near(home: Path) -> None:
    app = board_on(mnist(home, (2,)))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        lines = curves(app).splitlines()
        named = next(at for at, line in enumerate(lines) if "99.8 published" in line)
        assert lines[named + 1].count("⠁ ⠁ ⠁") > 3
        await pilot.press("l", "l")
        assert "99.8 published" in curves(app)
        await pilot.press("Y")
        assert "published" not in curves(app)


async def test_the_best_known_accuracy_widens_no_axis_from_afar(home: Path) -> None:
    app = board_on(mnist(home, (512,)))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("l", "l")
        assert "published" not in curves(app)


async def test_digits_have_no_best_known_accuracy(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("l", "l")
        assert "published" not in curves(app)


async def test_b_goes_through_the_figures_across_batch_sizes(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("2")
        first = part(app, "pane-bars")
        state = load_state(folder)
        for name, measure in BARS:
            await pilot.press("B")
            lines = part(app, "pane-bars").splitlines()
            if measure in ("noise_scale", "gradient_cosine"):
                assert f"no {name} was measured" in part(app, "pane-bars")
                continue
            assert lines[0].startswith(f" {name}  mean ± half its 95 % interval")
            assert "×1.00" in lines[1]
            for line, mean in zip(lines[1:], bars(state, measure).values(), strict=False):
                assert line.endswith(f" n=3 ×{mean.normalized:.2f}")
                assert ("±" in line) == (measure != "sgd_noise_scale")
        await pilot.press("B")
        assert part(app, "pane-bars") == first
        await pilot.press("alt+b")
        assert BARS[-1][0] in part(app, "pane-bars")


async def test_bars_are_as_long_as_the_means_and_tell_the_interval(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("2", "B", "B")
        assert "╭ test accuracy ──" in part(app, "pane-bars")
        lines = part(app, "pane-bars").splitlines()[1:5]
        found = list(bars(load_state(folder), "test_accuracy").values())
        longest = max(mean.mean for mean in found)
        full = max(line.count("█") for line in lines)
        for line, mean in zip(lines, found, strict=True):
            assert mean.low is not None
            assert mean.high is not None
            half = f"{(mean.high - mean.low) / 2:.4f}".removeprefix("0")
            assert f"{mean.mean:.4f} ±{half}" in line
            assert line.count("█") == pytest.approx(full * mean.mean / longest, abs=1)


def gaps(home: Path, *chosen: float) -> Path:
    """Batch sizes whose last epoch has just these gaps between train and test."""
    sizes = tuple(8 << at for at in range(len(chosen)))
    recipe, made = Recipe(home), configurations(sizes, seeds=1)
    recipe.open(made)
    recipe.ready(made)
    for configuration, gap in zip(made, chosen, strict=True):
        (trial,) = trials_of(configuration)
        recipe.start(trial)
        record = replace(record_of(trial, 1), test_accuracy=0.5, train_accuracy=0.5 + gap)
        recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=(record,)))
        recipe.end(trial)
    recipe.close("finished", len(sizes), len(sizes))
    return recipe.folder


async def test_a_gap_below_zero_is_hatched_and_has_no_factor(home: Path) -> None:
    app = board_on(gaps(home, 0.02, -0.01, 0.04, 0.0))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("B", "B", "B")
        positive, negative, twice, none = part(app, "pane-bars").splitlines()[1:5]
        assert positive.count("█") == pytest.approx(twice.count("█") / 2, abs=1)
        assert negative.count("░") == pytest.approx(twice.count("█") / 4, abs=1)
        assert positive.endswith("0.0200 n=1 ×1.00")
        assert negative.endswith("-0.0100 n=1")
        assert twice.endswith("0.0400 n=1 ×2.00")
        assert none.split()[1:] == ["64", "0.0000", "n=1"]


async def test_bars_name_seeds_that_collapsed_or_have_no_value(home: Path) -> None:
    """Seed 1 of batch size 8 collapsed, and no seed of 32 has a noise scale."""
    recipe, chosen = Recipe(home), configurations((8, 32))
    recipe.open(chosen)
    recipe.ready(chosen)
    for configuration in chosen:
        for trial in trials_of(configuration):
            recipe.start(trial)
            collapsed = (trial.batch_size, trial.seed) == (8, 1)
            record = replace(
                record_of(trial, EPOCHS),
                test_accuracy=0.11 if collapsed else 0.9,
                noise_trace=2.0,
                noise_signal=-0.1 if trial.batch_size == 32 or trial.seed == 2 else 0.5,
                noise_draws=3,
            )
            recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=(record,)))
            recipe.end(trial)
    recipe.close("finished", 6, 6)
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("B", "B")
        shown = " ".join(part(app, "pane-bars").split())
        assert "8: 1 of 3 seeds collapsed or learned nothing: 1" in shown
        for _ in range(len(BARS)):
            if "gradient noise scale" in part(app, "pane-bars").splitlines()[0]:
                break
            await pilot.press("B")
        shown = " ".join(part(app, "pane-bars").split())
        assert "no value for 32" in shown
        assert "8: 1 without a value" in shown


async def test_bars_wait_for_a_trial_to_finish(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((8, 32), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    trials = [trials_of(configuration)[0] for configuration in chosen]
    recipe.start(trials[0])
    recipe.epochs(trials[0], 5)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("B", "B")
            assert "no trial has finished yet" in part(app, "pane-bars")
            recipe.epochs(trials[0], EPOCHS, first=6)
            recipe.end(trials[0])
            await until(pilot, lambda: "×1.00" in part(app, "pane-bars"))
            assert "over 1 finished seed" in part(app, "pane-bars")
            assert "±" not in part(app, "pane-bars").partition("\n")[2]


def after(*keys: str) -> Callable[..., object]:
    async def press(pilot: object) -> None:
        await loaded(pilot)  # type: ignore[arg-type]
        await pilot.press(*keys)  # type: ignore[attr-defined]

    return press


def test_picture_of_gradient_values(home: Path, snap_compare: Callable[..., bool]) -> None:
    app = board_on(probed_sweep(home))
    assert snap_compare(app, terminal_size=SMALL, run_before=after("g", "g"))


def test_picture_of_competitions(home: Path, snap_compare: Callable[..., bool]) -> None:
    app = board_on(probed_sweep(home, (8, 16, 64)))
    assert snap_compare(app, terminal_size=LARGE, run_before=after("Y", "Y", "Y", "g", "g", "g"))

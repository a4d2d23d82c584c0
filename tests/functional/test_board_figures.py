"""Every figure of the board: curves over any axis, bars, gradients and what was probed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.containers import VerticalScroll

from engine import events as ev
from engine.catalog import load_state
from engine.curves import curve
from engine.figures import log_fit
from engine.findings.summary import bars
from engine.spec import trials_of
from tests.functional.board_fixtures import (
    EPOCHS,
    SIZES,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    loaded,
    part,
    probed_sweep,
    record_of,
    running_sweep,
    still,
    until,
    wide_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, gradients
from tui.app import BatchscopeApp
from tui.screens.board import BoardScreen
from tui.screens.help import Help
from tui.units import significant

__all__ = ["home", "still"]

pytestmark = pytest.mark.usefixtures("still")


TURNS = (
    "y",
    "Y",
    "x",
    "l",
    "t",
    "s",
    "left",
    "plus",
    "minus",
    "0",
    "b",
    "B",
    "g",
    "G",
    "f",
    "n",
    "[",
    "]",
)
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
)


def curves(app: BatchscopeApp) -> str:
    return part(app, "pane-curves")


async def test_y_goes_through_all_figures_and_back(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        pictures = [curves(app)]
        for name in FIGURES:
            await pilot.press("y")
            assert curves(app).splitlines()[0].startswith(f" {name}  ")
            pictures.append(curves(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == len(FIGURES)
        await pilot.press("Y")
        assert "batch size" in curves(app)


async def test_the_frame_and_the_tab_name_the_figure(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("y", "y", "y")
        assert curves(app).startswith("╭ distance from init ── ±1 sd ⢂  over epochs, linear ─")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "1 distance  2 time  3 memory" in part(app, "tabs"))


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
        await pilot.press("y", "x")
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
        await pilot.press("y", "y", "l", "l")
        assert "generalization gap  over epochs, y log without what is ≤ 0" in curves(app)
        await pilot.press("y")
        assert "without" not in curves(app)


async def test_what_has_no_train_curve_says_so(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("y")
        assert "train ╌" in curves(app)
        before = curves(app)
        await pilot.press("t")
        assert curves(app) != before
        await pilot.press("y")
        assert "train" not in curves(app)
        assert "±1 sd ⢂" in curves(app)
        await pilot.press("t")
        assert "±1 sd" not in curves(app)


async def test_what_has_neither_train_curve_nor_spread_says_so(home: Path) -> None:
    app = board_on(wide_sweep(home, 2))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("y", "y", "t")
        assert "no train curve of the generalization gap, and no spread" in part(app, "hints")


async def test_distance_over_log_steps_has_its_fit_in_the_legend(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("y", "y", "y", "x", "l")
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
            await pilot.press("y", "y", "y", "x", "l")
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
        await pilot.press("y")
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
            await pilot.press("b")
            lines = part(app, "pane-bars").splitlines()
            if measure == "noise_scale":
                assert "no gradient noise scale was measured" in part(app, "pane-bars")
                continue
            assert lines[0].startswith(f" {name}  mean ± half its 95 % interval")
            assert "×1.00" in lines[1]
            for line, mean in zip(lines[1:], bars(state, measure).values(), strict=False):
                assert line.endswith(f" n=3 ×{mean.normalized:.2f}")
                assert ("±" in line) == (measure != "sgd_noise_scale")
        await pilot.press("b")
        assert part(app, "pane-bars") == first
        await pilot.press("B")
        assert "SGD noise scale" in part(app, "pane-bars")


async def test_bars_are_as_long_as_the_means_and_tell_the_interval(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("2", "b", "b")
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
        await pilot.press("b", "b", "b")
        positive, negative, twice, none = part(app, "pane-bars").splitlines()[1:5]
        assert positive.count("█") == pytest.approx(twice.count("█") / 2, abs=1)
        assert negative.count("░") == pytest.approx(twice.count("█") / 4, abs=1)
        assert positive.endswith("0.0200 n=1 ×1.00")
        assert negative.endswith("-0.0100 n=1")
        assert twice.endswith("0.0400 n=1 ×2.00")
        assert none.split()[1:] == ["64", "0.0000", "n=1"]


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
            await pilot.press("b", "b")
            assert "no trial has finished yet" in part(app, "pane-bars")
            recipe.epochs(trials[0], EPOCHS, first=6)
            recipe.end(trials[0])
            await until(pilot, lambda: "×1.00" in part(app, "pane-bars"))
            assert "over 1 finished seed a configuration" in part(app, "pane-bars")
            assert "±" not in part(app, "pane-bars").partition("\n")[2]


async def test_keys_without_a_meaning_in_a_view_say_what_has_one(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("g", "f")
        assert "early and late are shares of the steps" in part(app, "hints")
        await pilot.press("g", "n")
        assert "only norms are normalized" in part(app, "hints")


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


async def test_probes_that_come_while_one_looks_are_drawn(home: Path) -> None:
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
            for pane in board.panes:
                monkeypatch.setattr(pane, "show", lambda _, name=pane.TAB: drawn.append(name))
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
        before = [pane.options() for pane in board.panes]
        await pilot.press("7", key)
        changed = [
            pane.NUMBER
            for pane, options in zip(board.panes, before, strict=True)
            if pane.options() != options
        ]
        if changed:
            assert board.current.NUMBER in changed
            assert part(app, "hints").startswith(" 1-7 pane  ")
        else:
            assert board.current.TAB == "log"
            assert not part(app, "hints").startswith(" 1-7 pane")


async def test_the_hints_are_those_of_the_pane(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        hints = part(app, "hints")
        assert hints == (
            " 1-7 pane  y Y figure  x over  l log  t train  m menu  e export  ? help  q leave"
        )
        await pilot.press("2")
        assert "  b B figure  m menu  e export  a add size  ? help  q leave" in part(app, "hints")
        await pilot.press("4")
        assert "  g G view  f share  n normalize  [ ] moment  m menu" in part(app, "hints")
        assert part(app, "hints").endswith("  ? help  q leave")
        await pilot.press("5")
        told = " 1-7 pane  R retry  m menu  e export  a add size  ? help  q leave"
        assert part(app, "hints") == told


async def test_the_help_is_read_to_its_end_on_a_small_screen(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        dialog = app.screen.query_one(VerticalScroll)
        assert "arrows scroll" in str(dialog.border_subtitle)
        await pilot.press("end")
        await until(pilot, lambda: dialog.scroll_y == dialog.max_scroll_y)


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (80, 10), (120, 26), (250, 70)])
async def test_any_figure_at_any_size(home: Path, size: tuple[int, int]) -> None:
    app = board_on(probed_sweep(home, (8, 16, 64)))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await pilot.resize_terminal(*size)
        await pilot.press(*"yyylxlxlxlx", *"bbbbbbb", *"ffngnggg[[", "down", "end", "g")
        assert app.screen is board
        assert isinstance(board, BoardScreen)


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
    assert snap_compare(app, terminal_size=LARGE, run_before=after("y", "y", "y", "g", "g", "g"))

"""What each pane of the board shows of a sweep."""

import re
from pathlib import Path
from statistics import fmean, stdev

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.figures import epoch_times
from batchscope.engine.findings import findings
from batchscope.engine.findings.findings import Findings
from batchscope.engine.findings.recommendation import UNDETERMINED
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.store import load_state
from batchscope.tui.render.units import rate
from batchscope.tui.viewmodel.marks import GLYPHS
from tests.functional.board_fixtures import (
    EPOCHS,
    SIZES,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
    wide_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, panes_seen, part, still, until
from tests.known import known

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


async def test_accuracy_names_the_final_mean_and_deviation_over_the_seeds(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        shown = part(app, "pane-curves")
        state = load_state(folder)
        for size in SIZES:
            finals = [known(t.records[-1].test_accuracy) for t in state.replicates(f"b{size}")]
            deviation = f"{stdev(finals):.4f}".removeprefix("0")
            assert f"{size:>3} {fmean(finals):.4f} ±{deviation} n=3" in shown
        assert all(str(epoch) in shown for epoch in range(0, EPOCHS + 1, 5))


async def test_scales_and_train_curves_are_switched_and_named(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        pictures = [part(app, "pane-curves")]
        for told in ("x log", "error (1 − accuracy) log", "linear"):
            await pilot.press("l")
            pictures.append(part(app, "pane-curves"))
            assert told in pictures[-1]
        assert len(set(pictures)) == 3
        assert pictures[0] == pictures[-1]
        await pilot.press("t")
        assert "test ━  ±1 sd ⢂  over" in part(app, "pane-curves")
        await pilot.press("t")
        assert "test ━  over" in part(app, "pane-curves")
        await pilot.press("t")
        assert "test ━  train ╌  over" in part(app, "pane-curves")
        await pilot.press("t")
        assert part(app, "pane-curves") == pictures[0]
        await pilot.press("5", "t", "t", "t")
        assert panes_seen(app) == ["curves"]
        assert "train ╌" in part(app, "pane-curves")


async def test_epoch_times_have_bars_ratios_and_a_note_on_parallel_trials(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("2")
        lines = part(app, "pane-bars").splitlines()
        seconds = [0.021 + 0.19 * (8 / size) for size in SIZES]
        shown = ["211", "68.5", "32.9", "24.0"]
        for index, line in enumerate(lines[1:5]):
            assert f" {shown[index]} ms" in line
            assert line.count("█") == pytest.approx(46 * seconds[index] / seconds[0], abs=1)
            if index:
                assert f"÷{seconds[index - 1] / seconds[index]:.1f}" in line
        assert lines[5] == " timed while up to 2 trials ran at once"


async def test_epochs_that_were_timed_alone_say_so(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations(timing="alone")
    recipe.open(chosen)
    recipe.ready(chosen, workers=1)
    recipe.whole(trials_of(chosen[0])[0])
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("2")
        assert "timed alone" in part(app, "pane-bars")


async def test_memory_gives_sizes_and_how_each_batch_is_cut(home: Path) -> None:
    app = board_on(running_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("3")
        shown = part(app, "pane-memory")
        assert "1.25 GiB · 5.00 GiB · 9.75 GiB free" in shown
        assert "16.0 GiB" in shown
        assert "◆ 512 = 1 × 512" in shown
        assert "why: the whole batch at once" in shown


async def test_gradient_norms_lie_where_the_axis_says(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        lines = part(app, "pane-gradients").splitlines()
        early, late = lines[1], lines[2]
        assert early.startswith(" ●   8")
        assert early.endswith("early")
        assert late.endswith("late")
        assert early.index("█") > late.index("█")
        axis = lines[-1]
        assert axis.index("╵0.2") < late.index("█") + 2 < axis.index("╵0.5")
        assert "μ   0.31 cv" in late


async def test_a_training_that_ended_early_has_no_norms_so_far(home: Path) -> None:
    """It may have reached its target; another one is still on its way to the same epoch."""
    recipe, chosen = Recipe(home), configurations((8, 512), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    ended, running = (trial for each in chosen for trial in trials_of(each))
    for trial in (ended, running):
        recipe.start(trial)
        recipe.epochs(trial, EPOCHS // 2)
    recipe.end(ended)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("4")
            lines = part(app, "pane-gradients").splitlines()
            assert sum(line.endswith(" rest") for line in lines) == 1
            assert sum(line.endswith(" so far") for line in lines) == 1


async def test_gradients_of_many_batch_sizes_share_a_row_each(home: Path) -> None:
    app = board_on(wide_sweep(home, 12))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        row = part(app, "pane-gradients").splitlines()[1]
        assert "░" in row
        assert "█" in row
        assert row.index("█") < row.index("░")


async def test_trials_show_progress_remaining_time_and_why_one_failed(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("5")
            _, *lines = part(app, "pane-trials").splitlines()  # without the headings
            assert sum(bool(re.search(r" s\d ", line)) for line in lines) == 12
            assert "● " in lines[1]
            assert "✓ finished" in lines[1]
            assert "0.97" in lines[1]
            assert "✗ failed: RuntimeError: out of memory while trying to allocate" in lines[5]
            assert "37 %  ETA 00:20" in lines[8]
            assert lines[3].endswith("queued")


async def test_a_configuration_keeps_its_marker_in_every_pane(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        assert [board.view.marks[name].glyph for name in board.view.order] == list("●▲■◆")
        for pane in ("curves", "bars", "memory", "gradients", "trials"):
            assert "◆ 512" in part(app, f"pane-{pane}")


async def test_ten_configurations_have_ten_markers(home: Path) -> None:
    app = board_on(wide_sweep(home, 10))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        assert "".join(mark.glyph for mark in board.view.marks.values()) == GLYPHS
        assert len({mark.style for mark in board.view.marks.values()}) == 8


async def test_findings_have_a_sign_a_word_an_effect_and_seeds(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("6")
        lines = part(app, "pane-findings").splitlines()
        assert "[95 % interval], n seeds" in lines[0]
        assert lines[1] == " ✓ Test accuracy falls as the batch grows"
        interval = r"−\d\.\d+ points \[−\d\.\d+, −\d\.\d+\], n=3"
        assert re.fullmatch(rf"   supported  {interval}  p = 0\.0\d+, 0\.0\d+ adjusted", lines[2])
        assert lines[3] == " ✓ A larger batch makes an epoch shorter"
        assert lines[4] == "   supported  −0.19 s [−0.19, −0.19], n=3  p < 0.0001"
        assert lines[5] == "   timed while other trials may have run"
        assert lines[6] == " ? A batch of 32 is as good as one of 8"
        assert lines[7] == "   undetermined"
        assert re.search(r"\] at 90 %, \[.*\] at 95 %, n=3  p = 0\.3\d$", lines[8])
        assert lines[9].startswith("   the difference ")
        assert lines[10].startswith(" → Use batch size 8: ")
        assert lines[-2].startswith(" 3 claims, judged together (Holm): ")
        assert " 2✓ 1?  ✓ finished" in part(app, "status")


async def test_a_key_shows_the_values_of_each_seed(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await pilot.press("6")
        assert "batch_size 512: " not in part(app, "pane-findings")
        await pilot.press("d")
        shown = part(app, "pane-findings")
        values = (
            value_of(board.view.state, trial, "test_accuracy")
            for trial in board.view.state.replicates("b512")
        )
        text = " ".join(f"{100 * value:.2f}" for value in values if value is not None)
        assert f"   batch_size 512: {text} %" in shown
        await pilot.press("d")
        assert "batch_size 512: " not in part(app, "pane-findings")


async def test_the_values_of_the_seeds_are_shown_where_they_fit(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=(100, 60)) as pilot:
        await loaded(pilot)
        await pilot.press("6")
        shown = part(app, "pane-findings")
        assert "batch_size 512: " in shown
        assert "other seeds (initial weights and image orders)" in " ".join(shown.split())


async def test_findings_firm_up_as_seeds_finish(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((8, 32))
    recipe.open(chosen)
    recipe.ready(chosen)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("6")
            shown = part(app, "pane-findings")
            assert "undetermined so far  batch_size 8: 0 of 3 seeds finished" in shown
            assert f"→ So far, {UNDETERMINED[0].lower()}{UNDETERMINED[1:]}: " in shown
            assert " 3? " in part(app, "status")
            for seed in range(2):
                for configuration in chosen:
                    recipe.whole(trials_of(configuration)[seed])
            await until(pilot, lambda: "supported so far  −0.14 s" in part(app, "pane-findings"))
            for configuration in chosen:
                recipe.whole(trials_of(configuration)[2])
            recipe.close("finished", 6, 6)
            await until(pilot, lambda: "✓ finished" in part(app, "status"))
            await until(pilot, lambda: "so far" not in part(app, "pane-findings"))


async def test_findings_are_judged_once_and_not_at_every_refresh(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = running_sweep(home)
    judged: list[int] = []

    def find(state: SweepState) -> Findings:
        judged.append(state.version)
        return findings.find(state)

    monkeypatch.setattr("batchscope.tui.screens.board.find", find)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            board = await loaded(pilot)
            for _ in range(5):
                board.redraw()
                await pilot.pause(0.15)
            assert len(judged) <= 1


async def test_a_long_name_keeps_its_room_from_the_verdicts(home: Path) -> None:
    app = board_on(finished_sweep(home, f"20270115-080000-{'long' * 11}"))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert "2✓" not in part(app, "status")
        assert "✓ finished" in part(app, "status")
        await pilot.resize_terminal(*LARGE)
        await until(pilot, lambda: "2✓ 1?" in part(app, "status"))


async def test_long_lists_scroll_and_say_how_much_is_hidden(home: Path) -> None:
    app = board_on(wide_sweep(home, 40))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("5")
        assert "›●  1 s0" in part(app, "pane-trials")
        assert "↓ 27 more" in part(app, "pane-trials")
        await pilot.press("down", "j")
        assert "›■  3 s0" in part(app, "pane-trials")
        assert "↓ 27 more" in part(app, "pane-trials")
        await pilot.press("pagedown", "pagedown")
        assert "23 s0" in part(app, "pane-trials")
        assert "↑ 10  ↓ 17 more" in part(app, "pane-trials")
        await pilot.press("end")
        assert " 40 s0" in part(app, "pane-trials")
        await pilot.press("pagedown")
        assert "last trial" in part(app, "hints")
        await pilot.press("pageup", "up", "k")
        assert "↑ 27" in part(app, "pane-trials"), "28 is still in sight"
        await pilot.press("home")
        assert "↑" not in part(app, "pane-trials")
        await pilot.press("7", "pageup")
        assert "↓" in part(app, "pane-log")
        await pilot.press("end", "down")
        assert "end of the pane" in part(app, "hints")


async def test_the_pace_in_memory_is_that_beside_the_epoch_time(home: Path) -> None:
    folder = finished_sweep(home)
    paces = {
        time.configuration: time.samples_per_second for time in epoch_times(load_state(folder))
    }
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("3")
        shown = part(app, "pane-memory")
        for pace in paces.values():
            assert rate(pace) in shown


async def test_candidates_of_one_batch_size_are_told_apart_in_memory(home: Path) -> None:
    recipe = Recipe(home)
    (only,) = configurations((64,))
    chosen = tuple(
        replace(
            only,
            id=f"b64-lr{lr}",
            label=f"64, lr {lr}",
            settings=replace(only.settings, train=replace(only.settings.train, lr=lr)),
        )
        for lr in (0.1, 0.2)
    )
    recipe.open(chosen)
    recipe.ready(chosen)
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("3")
        shown = part(app, "pane-memory")
        assert "64, lr 0.1 64 = 1 × 64" in shown
        assert "64, lr 0.2 64 = 1 × 64" in shown


@pytest.mark.parametrize("size", [SMALL, (120, 35), LARGE])
async def test_the_columns_of_trials_have_headings(home: Path, size: tuple[int, int]) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        await loaded(pilot)
        await pilot.press("5")
        head, first = part(app, "pane-trials").splitlines()[1:3]
        assert head.index("status") == first.index("✓ finished")
        assert head.index("accuracy") <= first.index("0.97") < head.index("accuracy") + 8
        assert head.index("trial") == first.index("8 s0") - 2

"""The board of a task: its own metrics, and which direction of them is better."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.store import load_state
from tests.functional.board.task_sweeps import (
    mixed_sweep,
    task_configurations,
    task_sweep,
    value_of,
)
from tests.functional.board_fixtures import EPOCHS, home
from tests.functional.boards import (
    LARGE,
    SMALL,
    board_on,
    gradients,
    loaded,
    part,
    screen_text,
    still,
)

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")

MIDDLE = (120, 35)


def mean_of(size: int, better: str = "lower") -> float:
    """The final value on test data, mean over the seeds."""
    (configuration,) = task_configurations((size,), 3)
    values = [value_of(trial, EPOCHS, "test", better) for trial in trials_of(configuration)]
    return sum(values) / len(values)


async def test_curves_bars_trials_and_findings_go_by_the_first_metric(home: Path) -> None:
    app = board_on(task_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        curves = part(app, "pane-curves")
        assert "mae, lower is better" in curves.splitlines()[0]
        assert f"{mean_of(8):.4f}" in curves
        await pilot.press("2", "2", "B", "B")
        bars = part(app, "pane-bars")
        assert "test mae, lower is better" in bars
        assert f"{mean_of(128):.4f}" in bars
        trials = part(app, "pane-trials")
        assert "test mae, lower is better" in trials
        (first, *_) = trials_of(task_configurations((8,), 3)[0])
        assert f"{value_of(first, EPOCHS, 'test', 'lower'):.4f}" in trials
        findings = " ".join(part(app, "pane-findings").split())
        assert "test mae" in findings
        assert "accuracy" not in screen_text(app)


async def test_y_goes_through_the_metrics_of_the_task_and_has_no_accuracy(home: Path) -> None:
    app = board_on(task_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        seen = []
        for _ in range(20):
            seen.append(part(app, "pane-curves").splitlines()[0])
            await pilot.press("Y")
        heads = [text.strip() for text in seen]
        assert heads[0].startswith("mae, lower is better")
        assert any(text.startswith("loss, lower is better") for text in heads)
        assert any(text.startswith("r2, higher is better") for text in heads)
        assert not any("accuracy" in text or "generalization" in text for text in heads)
        assert seen[0] in seen[1:]


async def test_a_task_with_an_accuracy_is_told_by_it(home: Path) -> None:
    app = board_on(task_sweep(home, (("mae", "lower"), ("accuracy", "higher"))))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        assert "accuracy" in part(app, "pane-curves").splitlines()[0]
        assert "better" not in part(app, "pane-curves").splitlines()[0]
        await pilot.press("1", "1", "Y", "Y")
        assert "mae, lower is better" in part(app, "pane-curves").splitlines()[0]


async def test_without_any_metric_it_is_the_loss(home: Path) -> None:
    app = board_on(task_sweep(home, ()))
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        assert "loss, lower is better" in part(app, "pane-curves").splitlines()[0]
        assert "test loss, lower is better" in part(app, "pane-trials")


async def test_the_metrics_appear_once_the_function_has_been_run(home: Path) -> None:
    folder = task_sweep(home, known=False)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        assert "results" in part(app, "pane-curves").splitlines()[0]
        assert "loss" not in part(app, "pane-trials").splitlines()[0]
        await pilot.press("Y")
        chosen = part(app, "pane-curves").splitlines()[0]
        assert "loss" in chosen or "distance" in chosen
    assert not load_state(folder).data
    assert board.view.primary.name == "loss"


async def test_tasks_without_a_common_metric_are_told_by_the_loss_everywhere(home: Path) -> None:
    folder = mixed_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        assert "loss, lower is better" in part(app, "pane-curves").splitlines()[0]
        trials = part(app, "pane-trials")
        assert "test loss" in trials
        for trial in load_state(folder).trials.values():
            assert trial.last
            assert f"{trial.last.test_loss:.4f}" in trials
        findings = " ".join(part(app, "pane-findings").replace("│", " ").split())
        assert "No clear winner" in findings
        assert "kind = 'absolute' and 'ranked'" in findings
    async with board_on(folder).run_test(size=MIDDLE) as pilot:
        await loaded(pilot)
        await pilot.press("2", "B", "B")
        bars = part(pilot.app, "pane-bars")
        lines = [each for each in bars.splitlines() if "kind" in each]
        assert len(lines) == 4
        for line in lines:
            assert line.rstrip("│ ")[-1].isdigit(), "a number was cut"


async def test_settings_tell_the_task_and_neither_data_nor_network(home: Path) -> None:
    app = board_on(task_sweep(home))
    async with app.run_test(size=(80, 40)) as pilot:
        await loaded(pilot)
        await pilot.press("8")
        shown = part(app, "pane-settings")
        for text in ("mine:make", "width 64", "350 training", "92 test", "mae (lower is better)"):
            assert text in shown
        assert "data.validation" not in shown
        assert "model." not in shown


async def test_names_of_modules_stay_readable_on_a_small_screen(home: Path) -> None:
    app = board_on(task_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g")
        rows = gradients(app).splitlines()[2:8]
        names = [row.split()[0] for row in rows]
        assert len(set(names)) == 6
        assert names[1].endswith("0.self_attn.out_proj")
        assert names[4].endswith("1.self_attn.out_proj")


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
def test_picture_of_the_board(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    assert snap_compare(board_on(task_sweep(home)), terminal_size=size, run_before=loaded)


def test_picture_of_the_layers(home: Path, snap_compare: Callable[..., bool]) -> None:
    async def layers(pilot: Pilot[str]) -> None:
        await loaded(pilot)
        await pilot.press("4", "g")

    assert snap_compare(board_on(task_sweep(home)), terminal_size=SMALL, run_before=layers)

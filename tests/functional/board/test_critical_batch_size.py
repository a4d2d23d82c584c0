"""The board of a sweep with a target: steps against samples, noise scale beside batch sizes."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from batchscope.engine.findings.findings import find
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Trial, trials_of
from batchscope.engine.sweeps.store import load_state
from tests.functional.board.ascii_board import LARGE, SMALL, board_on
from tests.functional.board_fixtures import (
    Recipe,
    configurations,
    finished_sweep,
    home,
    record_of,
)
from tests.functional.boards import loaded, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
SIZES = (8, 32, 128, 512, 2048)
TARGET = 0.9


def aimed_sweep(home: Path, missed: int = 0) -> Path:
    """Three seeds of five batch sizes that reach a target, but for those of the size `missed`."""
    recipe = Recipe(home, "20270115-080000-critical-batch")
    recipe.claims = ()
    chosen = tuple(
        replace(
            each,
            settings=replace(
                each.settings, train=replace(each.settings.train, target_accuracy=TARGET)
            ),
        )
        for each in configurations(SIZES)
    )
    recipe.open(chosen, title="How large is large enough")
    recipe.ready(chosen)
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials:
        recipe.start(trial)
        records = records_of(trial, 0.5 if trial.batch_size == missed else TARGET)
        recipe.say(ev.EpochsFinished(trial=trial.id, attempt=1, records=records), 1.0)
        recipe.end(trial)
    recipe.close("finished", len(trials), len(trials))
    return recipe.folder


def records_of(trial: Trial, accuracy: float) -> tuple[ev.EpochRecord, ...]:
    """Two epochs; steps to the target are 1,000 (1 + 150/B), a few percent up or down."""
    draw = random.Random(trial.batch_size * 10 + trial.seed)
    steps = round(1000 * (1 + 150 / trial.batch_size) * draw.uniform(0.97, 1.03))
    noise = {"noise_trace": 400 * draw.uniform(0.9, 1.1), "noise_signal": 1.0, "noise_draws": 5}
    return tuple(
        replace(
            record_of(trial, epoch),
            steps=steps * epoch // 2,
            samples=steps * epoch // 2 * trial.batch_size,
            test_accuracy=accuracy if epoch == 2 else 0.4,
            **noise,
        )
        for epoch in (1, 2)
    )


async def shown(pilot: Pilot[str], *keys: str) -> None:
    """Wait until all is read, and press keys."""
    await loaded(pilot)
    await pilot.press("2", *keys)


def after(*keys: str) -> Callable[[Pilot[str]], Awaitable[None]]:
    async def press(pilot: Pilot[str]) -> None:
        await shown(pilot, *keys)

    return press


async def test_it_is_the_last_figure_across_batch_sizes(home: Path) -> None:
    folder = aimed_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "alt+b")
        text = part(app, "pane-bars")
        found = find(load_state(folder)).critical_batch_size
        assert found is not None
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert text.splitlines()[0].strip().startswith("steps and samples  samples over steps")
        told = f"critical batch size {found.value:.0f} [{found.low:.0f}, {found.high:.0f}]"
        assert told in text
        assert "noise scale: 3" in text
        for size, regime in zip(SIZES, ("perfect", "dim", "dim", "dim", "max"), strict=True):
            assert any(f" {size} " in line and regime in line for line in text.splitlines())
        await pilot.press("B")
        assert part(app, "pane-bars").splitlines()[0].strip().startswith("epoch time")


async def test_without_a_target_there_is_no_such_figure(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await shown(pilot, "alt+b")
        assert "cosine of successive gradients" in part(app, "pane-bars")


async def test_a_size_that_missed_the_target_is_named(home: Path) -> None:
    app = board_on(aimed_sweep(home, missed=8))
    async with app.run_test(size=LARGE) as pilot:
        await shown(pilot, "alt+b")
        text = part(app, "pane-bars")
        assert "Batch size 8 is left out: b8-s0 and 2 more did not reach the target" in text


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_it_can_be_had_in_ascii(home: Path, size: tuple[int, int]) -> None:
    app = board_on(aimed_sweep(home), ascii_only=True)
    async with app.run_test(size=size) as pilot:
        await shown(pilot, "alt+b")
        text = part(app, "pane-bars")
        assert text.isascii()
        assert "+ critical batch size" in text


async def test_the_noise_scale_has_the_batch_sizes_beside_it(home: Path) -> None:
    app = board_on(aimed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(*"YYYYYYY")
        text = part(app, "pane-curves")
        assert "  batch sizes ╌  over epochs" in text
        lines = [line for line in text.splitlines() if line[5:7] in ("│■", "│◆", "┤■", "┤◆")]
        assert len(lines) == 2, text  # 128 and 512 are the nearest to 400
        await pilot.press("Y")
        assert "batch sizes" not in part(app, "pane-curves")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_picture_of_steps_against_samples(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    assert snap_compare(board_on(aimed_sweep(home)), terminal_size=size, run_before=after("alt+b"))

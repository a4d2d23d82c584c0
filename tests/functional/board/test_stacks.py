"""On the board and without one: a time that the replicates of a stack share says so."""

import io
import json
from pathlib import Path

import pytest

from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.headless.follower import HeadlessFollower
from batchscope.tui.headless.log_lines import Log
from batchscope.tui.headless.summary import summary, summary_text
from tests.functional.board_fixtures import home, stacked_sweep
from tests.functional.boards import loaded, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
SMALL, WIDE = (80, 24), (160, 45)
STACKS = {32: 3, 128: 3}
NOTE = (
    "×3: 3 replicates trained as one stack; the epoch time is for the whole stack, "
    "samples/s for one replicate"
)


def board_on(folder: Path) -> BatchscopeApp:
    return BatchscopeApp(folder.parent.parent, sweep=folder)


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_epoch_times_of_stacks_are_marked(home: Path, size: tuple[int, int]) -> None:
    app = board_on(stacked_sweep(home, STACKS))
    async with app.run_test(size=size) as pilot:
        await loaded(pilot)
        await pilot.press("2")
        await pilot.pause()
        lines = part(app, "pane-bars").splitlines()
        shown = [" 211 ms ", " 68.5 ms ×3 ", " 32.9 ms ×3 ", " 24.0 ms "]
        for line, told in zip(lines[1:5], shown, strict=True):
            assert told in line
            assert ("×3" in line) == ("×3" in told)
            assert len(line) <= size[0]
        assert " ".join(" ".join(lines[5:]).replace("│", "").split()).startswith(
            f"timed while up to 2 stacks ran at once {NOTE}"
        )


async def test_epoch_times_without_stacks_say_nothing_of_them(home: Path) -> None:
    app = board_on(stacked_sweep(home, {}))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("2")
        assert "×" not in part(app, "pane-bars")
        assert "stack" not in part(app, "pane-bars")


async def test_step_times_warn_where_stacks_differ(home: Path) -> None:
    app = board_on(stacked_sweep(home, STACKS))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("2", "B")
        told = " ".join(part(app, "pane-bars").split())
        assert "stacks of 1 and 3 replicates were timed: such times cannot be compared" in told


async def test_the_trials_and_their_story_tell_of_the_stack(home: Path) -> None:
    app = board_on(stacked_sweep(home, STACKS))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("5")
        shown = part(app, "pane-trials").splitlines()
        took = {line.split()[1]: line for line in shown if "finished" in line and " s0 " in line}
        assert "3.00 s ×3" in took["32"]
        assert "3.00 s" in took["8"]
        assert "×" not in took["8"]
        assert "211 ms/epoch" in "\n".join(shown)
        assert "/epoch ×" not in "\n".join(shown)
        await pilot.press("down", "down", "down")
        assert "68.5 ms/epoch ×3" in part(app, "pane-trials")


async def test_the_claim_about_epoch_times_carries_a_caution(home: Path) -> None:
    app = board_on(stacked_sweep(home, STACKS))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("6")
        told = " ".join(part(app, "pane-findings").split())
        assert (
            told.count("stacks of 1 and 3 replicates were timed: such times cannot be compared")
            == 1
        )


def test_the_summary_and_the_log_say_it_too(home: Path) -> None:
    folder = stacked_sweep(home, STACKS)
    state = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
    found = summary(folder, state, None)
    assert [row["stacked"] for row in found["configurations"]] == [1, 3, 3, 1]
    lines = summary_text(found).splitlines()
    times = [line.partition(" s ")[2].split() for line in lines[4:8]]
    assert [row[1:] for row in times] == [[], ["×3"], ["×3"], []]
    assert lines[8] == NOTE
    said = io.StringIO()
    HeadlessFollower(folder, Log("json", said)).catch_up()
    messages = [json.loads(line) for line in said.getvalue().splitlines()]
    last = {line["trial"]: line["message"] for line in messages if "epoch_seconds" in line}
    assert last["b32-s0"].endswith("epoch time 0.0685 s for a stack of 3")
    assert last["b8-s0"].endswith("epoch time 0.211 s")


def test_a_summary_without_stacks_has_no_remark(home: Path) -> None:
    folder = stacked_sweep(home, {})
    state = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
    told = summary_text(summary(folder, state, None))
    assert "×" not in told
    assert "stack" not in told


def test_a_summary_of_a_sweep_that_never_began_starts_with_its_state(home: Path) -> None:
    told = summary_text(summary(home / "20270101-080000-never", SweepState(), None))
    first = next(line for line in told.splitlines() if line.startswith("sweep "))
    assert first.startswith("sweep 20270101-080000-never: interrupted, 0 of 0 trials")
    assert "None" not in told

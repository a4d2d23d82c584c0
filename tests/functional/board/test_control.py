"""The keys that control a sweep, on recorded journals."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from batchscope.engine.journal import events as ev
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.commands import Retry
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.add_batch_size import AddBatchSize
from batchscope.tui.screens.dialog import ConfirmDialog
from tests.functional.board_fixtures import (
    NOW,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
)
from tests.functional.boards import SMALL, board_on, loaded, part, still, until

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


def asked(folder: Path) -> list[dict[str, Any]]:
    """The commands that were sent."""
    return [json.loads(line) for line in (folder / "commands.jsonl").read_bytes().splitlines()]


def goes_on(home: Path, at: float) -> Recipe:
    """The recipe of the running sweep, to say more."""
    recipe = Recipe(home)
    recipe.at = at
    return recipe


async def test_p_pauses_and_p_resumes(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            board = await loaded(pilot)
            await pilot.press("p")
            assert "Pausing" in part(app, "hints")
            recipe = goes_on(home, NOW - 5.0)
            recipe.say(ev.SweepPaused())
            await until(pilot, lambda: "‖ paused 01:30" in part(app, "status"))
            assert "p resumes" in part(app, "notice")
            assert "ETA" in part(app, "status")
            await pilot.press("p")
            assert "Resuming" in part(app, "hints")
            recipe.say(ev.SweepContinued(), after=4.0)
            await until(pilot, lambda: "● running 01:31" in part(app, "status"))
            assert part(app, "notice") == ""
            assert "4 s" in board.view.state.log[-1].text
    assert asked(folder) == [{"command": "pause"}, {"command": "continue"}]


async def test_there_is_nothing_to_pause_in_a_sweep_that_does_not_run(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("p")
        assert "finished" in part(app, "hints")


async def test_a_command_that_a_dying_conductor_missed_is_reported(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with ExitStack() as conductor:
        conductor.enter_context(conductor_of(folder))
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("p")
            conductor.close()
            await until(pilot, lambda: "ended before" in part(app, "hints"))
            await pilot.press("p")
            assert "interrupted" in part(app, "hints")


async def test_no_command_is_sent_to_a_conductor_that_has_just_died(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        board.view.alive = True  # as it looked when it was last asked
        board.action_pause()
        assert "not running any more" in part(app, "hints")
    assert not (folder / "commands.jsonl").exists()


# ---- the chosen trial

LONG_REASON = "RuntimeError: " + "the allocator had no room for what was asked; " * 8 + "the end"


def stopped_sweep(home: Path) -> Path:
    """A sweep with a trial that failed at length, one that diverged, and one that was skipped."""
    recipe, chosen = Recipe(home), configurations((8, 32), seeds=2)
    recipe.open(chosen)
    recipe.ready(chosen)
    one, two, three, four = (trial for c in chosen for trial in trials_of(c))
    recipe.whole(one)
    recipe.start(two)
    recipe.end(two, "failed", LONG_REASON)
    recipe.start(three)
    recipe.end(three, "diverged", "the loss was not finite after epoch 3")
    recipe.end(four, "skipped", "skipped on request")
    recipe.close("failed", 4, 1)
    return recipe.folder


def chosen_row(app: BatchscopeApp) -> str:
    (line,) = [line for line in part(app, "pane-trials").splitlines() if line.startswith(" ›")]
    return line


async def test_a_trial_is_selected_and_its_details_shown(home: Path) -> None:
    app = board_on(stopped_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("5")
        assert "●  8 s0 ✓ finished" in chosen_row(app)
        assert "─ b8-s0 ─" in part(app, "pane-trials")
        assert "finished on cpu, started 08:0" in part(app, "pane-trials")
        assert "epoch 20 of 20, step 3,600, test 0.97" in part(app, "pane-trials")
        await pilot.press("up")
        assert "first trial" in part(app, "hints")
        await pilot.press("down")
        assert "●  8 s1 ✗ failed: RuntimeError" in chosen_row(app)
        told = " ".join(part(app, "pane-trials").split())
        assert LONG_REASON in told, "all of it, however long"
        await pilot.press("end")
        assert "▲ 32 s1 » skipped by you" in chosen_row(app)
        assert "R run again" in part(app, "hints")
        await pilot.press("j")
        assert "last trial" in part(app, "hints")


async def test_the_selection_stays_when_trials_are_added(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            board = await loaded(pilot)
            await pilot.press("5", "home", "down", "down", "down")
            assert "▲  32 s0" in chosen_row(app)
            goes_on(home, NOW).say(ev.ConfigurationsAdded(configurations=configurations((16,))))
            await until(pilot, lambda: len(board.view.order) == 5)
            assert "▲  32 s0" in chosen_row(app)
            assert "▼  16 s0" in part(app, "pane-trials"), "and keeps its mark; the new has another"
            rows = [line for line in part(app, "pane-trials").splitlines() if " s0 " in line]
            assert [line[2] for line in rows] == list("●▼▲■◆")


async def test_x_skips_the_selected_trial_after_asking(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("X")
            assert "pane 5" in part(app, "hints")
            await pilot.press("5", "home", "X")
            assert "b8-s0 " in part(app, "hints")
            await pilot.press("end", "X")
            assert isinstance(app.screen, ConfirmDialog)
            await pilot.press("n")
            assert not isinstance(app.screen, ConfirmDialog)
            assert not (folder / "commands.jsonl").exists()
            await pilot.press("X", "y")
            assert "Skipping b512-s2" in part(app, "hints")
            assert asked(folder) == [{"command": "skip", "trial": "b512-s2"}]
            end = ev.TrialEnded(trial="b512-s2", attempt=0, status="skipped", reason="skipped")
            goes_on(home, NOW).say(end)
            await until(pilot, lambda: "» skipped" in chosen_row(app))
            await pilot.press("R")
            assert "Queueing b512-s2" in part(app, "hints")
            goes_on(home, NOW).say(ev.TrialRetried(trial="b512-s2", attempt=0))
            await until(pilot, lambda: "· queued" in chosen_row(app))
            assert "Queueing" not in part(app, "hints"), "it has been done"
            await pilot.press("R")
            assert "b512-s2" in part(app, "hints")
            assert len(asked(folder)) == 2, "it is queued already"


async def test_a_refusal_of_the_conductor_is_shown(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("5", "end", "X", "y")
            text = "refused: b512-s2 has finished"
            goes_on(home, NOW).say(ev.Note(level="warning", text=text))
            await until(pilot, lambda: text in part(app, "hints"))


async def test_run_again_on_a_sweep_that_has_ended_starts_a_conductor(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_sweep(home)
    started: list[tuple[Path, Any]] = []
    monkeypatch.setattr(
        "batchscope.tui.screens.board_controls.ask", lambda *given: started.append(given)
    )
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("R")
        assert "pane 5" in part(app, "hints")
        for at, refused in enumerate(("b8-s0", None, "b32-s0")):
            await pilot.press("5", "5", "5", "home", *["down"] * at)
            if refused:
                await pilot.press("R")
                assert refused in part(app, "hints")
        await pilot.press("end", "X")
        assert "b32-s1" in part(app, "hints")
        await pilot.press("R")
        await until(pilot, lambda: started == [(folder, Retry("b32-s1"))])


# ---- adding a batch size

PRESET = """\
title = "Two sizes"
seeds = 3
[data]
name = "digits"
[model]
name = "mlp"
hidden = [128, 64]
batch_norm = true
[train]
lr = 0.1
epochs = 20
[grid]
batch_size = [8, 32, 128, 512]
"""


async def test_a_batch_size_is_checked_while_it_is_typed(home: Path) -> None:
    folder = running_sweep(home)
    (folder / "sweep.toml").write_text(PRESET)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("a")

            def answer() -> str:
                return str(app.screen.query_one("#answer", Static).render())

            for typed, told in (
                ("", "Type"),
                ("x", "✗"),
                ("0", "✗"),
                ("32", "✗ batch size 32"),
                ("1438", "✗ batch size 1,438"),
                ("1", "✗ batch size 1"),
                ("16", "✓ Adds 3 trials"),
            ):
                await pilot.press("ctrl+u", *typed)
                await pilot.press("enter") if typed != "16" else None
                assert answer().startswith(told), typed
            assert isinstance(app.screen, AddBatchSize)
            await pilot.press("escape")
            assert not (folder / "commands.jsonl").exists()
            await pilot.press("a", *"16", "enter")
            assert "Adding batch size 16" in part(app, "hints")
    assert asked(folder) == [{"command": "add", "batch_size": 16}]


async def test_a_missing_preset_file_is_reported(home: Path) -> None:
    folder = finished_sweep(home)
    (folder / "sweep.toml").unlink()
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("a")
        assert "sweep.toml" in part(app, "hints")

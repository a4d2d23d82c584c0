"""Commands to a running sweep, with real conductors and workers."""

import os
import signal
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.add_batch_size import with_batch_size
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from batchscope.engine.sweeps.sweep_file import read_raw, store
from tests.functional.asking import ask
from tests.functional.lab import (
    Lab,
    conductor_of,
    copy_of_recorded,
    ended,
    events_of,
    state_of,
    until,
)
from tests.functional.sweep_fixtures import figures, preset_file, statuses
from tests.messages import says

LONG = """\
title = "Trials that last for some seconds"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
lr = 0.1
epochs = 150
[grid]
batch_size = [16, 512]
[memory]
micro_batch_size = 16
[run]
stack = "never"
"""
ENDLESS = LONG.replace("epochs = 150", "epochs = 100000000")


def paused(folder: Path) -> bool:
    return state_of(folder).paused_at is not None


def trains(folder: Path) -> bool:
    """Whether a trial is past its first epochs."""
    running = [trial for trial in state_of(folder).trials.values() if trial.status == "running"]
    return any(trial.records for trial in running)


def since(folder: Path, kind: type[ev.AnyEvent]) -> list[ev.AnyEvent]:
    """The events after the last of a kind, those of memory left out."""
    events = events_of(folder)
    last = max(index for index, event in enumerate(events) if isinstance(event, kind))
    return [event for event in events[last + 1 :] if not isinstance(event, ev.MemorySampled)]


def started_on(lab: Lab, preset: str, *words: str) -> Path:
    """A sweep that runs, followed by nobody who would mind."""
    lab.start("--export", str(lab.root / "out"), "--preset", preset_file(lab, preset), *words)
    folder = lab.only_folder()
    until(lambda: (folder / "journal.jsonl").exists() and trains(folder), "a trial trains")
    return folder


# ---- pausing


@pytest.mark.campaign
def test_a_paused_sweep_does_nothing_and_ends_with_the_same_figures(lab: Lab) -> None:
    words = ["--preset", preset_file(lab, LONG), "--workers", "2"]
    follower = lab.start("--export", str(lab.root / "held"), *words)
    folder = lab.only_folder()
    until(lambda: (folder / "journal.jsonl").exists() and trains(folder), "a trial trains")
    commands.send(folder, commands.Pause())  # at once: a fast machine would end the sweep first
    until(lambda: paused(folder), "it is paused")
    outcome = lab.run("pause", folder.name)
    assert (outcome.code, outcome.err) == (0, "")
    assert says(outcome.out, f"{folder.name}: paused | `batchscope continue {folder.name}`")
    (listed,) = lab.listed()
    assert listed["state"] == "paused"
    time.sleep(1.5)  # workers would have stated epochs by now
    held = since(folder, ev.SweepPaused)
    time.sleep(1.5)
    assert since(folder, ev.SweepPaused) == held
    assert not any(isinstance(event, ev.TrialStarted) for event in held)
    assert lab.run("pause", folder.name).code == 0, "it is paused already"
    assert state_of(folder).count("running") > 0, "the pause came while something trained"

    outcome = lab.run("continue", folder.name)
    assert outcome.out.startswith(f"{folder.name}: running")
    first = ended(follower)
    assert first.code == 0, first.err
    assert "paused" in first.err
    assert "after a pause of" in first.err
    assert len([e for e in events_of(folder) if isinstance(e, ev.SweepPaused)]) == 1
    end = [event for event in events_of(folder) if isinstance(event, ev.SweepEnded)][-1]
    (began,) = [event for event in events_of(folder) if isinstance(event, ev.ConductorStarted)]
    assert end.seconds <= end.at - began.at - 3.0, "the pause is no time of the sweep"

    again = lab.root / "again"
    outcome = lab.run("--export", str(again), "--preset", str(lab.root / "held" / SWEEP))
    assert outcome.code == 0, outcome.err
    assert figures(again) == figures(lab.root / "held")


@pytest.mark.campaign
def test_a_paused_sweep_can_be_stopped_and_resumed(lab: Lab) -> None:
    folder = started_on(lab, ENDLESS, "--workers", "2")
    commands.send(folder, commands.Pause())
    until(lambda: paused(folder), "it is paused")
    outcome = lab.run("stop", folder.name)
    assert (outcome.code, outcome.err) == (0, "")
    assert [trial.status for trial in state_of(folder).trials.values()].count("stopped") == 2
    assert lab.run("continue", folder.name).out == f"{folder.name}: not running\n"
    lab.start("resume", folder.name)
    until(lambda: trains(folder), "it trains again")
    assert state_of(folder).phase(alive=True) == "running"


def test_a_pause_ends_with_its_conductor(lab: Lab) -> None:
    """And the workers, though they hold still, die with it too."""
    folder = started_on(lab, ENDLESS, "--workers", "1")
    commands.send(folder, commands.Pause())
    until(lambda: paused(folder), "it is paused")
    first = conductor_of(folder)
    os.kill(first, signal.SIGKILL)
    until(lambda: not conductor_lives(folder), "its workers are gone")
    assert lab.listed()[0]["state"] == "interrupted"
    commands.send(folder, commands.Pause())  # nobody hears this, now or later
    lab.start("resume", folder.name)
    until(lambda: conductor_of(folder) != first and trains(folder), "it trains again")
    assert not paused(folder)


# ---- skipping and trying again


def told(folder: Path) -> list[str]:
    return [line.text for line in state_of(folder).log]


@pytest.mark.campaign
def test_trials_are_skipped_and_retried_in_a_running_sweep(lab: Lab) -> None:
    folder = started_on(lab, ENDLESS, "--workers", "1")
    ask(lab, folder, "Skip('b512-s1')")  # waits
    ask(lab, folder, "Skip('b16-s0')")  # runs
    until(lambda: statuses(folder)["b512-s0"] == "running", "the worker has gone on to the next")
    assert statuses(folder) == {
        **{"b16-s0": "skipped", "b16-s1": "queued"},
        **{"b512-s0": "running", "b512-s1": "skipped"},
    }
    for trial in ("b16-s0", "b512-s1"):
        assert "skipped" in state_of(folder).trials[trial].reason
    assert state_of(folder).trials["b16-s0"].records, "what it measured is kept"

    ask(lab, folder, "Skip('b16-s0')")
    ask(lab, folder, "Skip('nobody')")
    ask(lab, folder, "Retry('b512-s0')")
    ask(lab, folder, "Retry('b512-s1')")
    until(lambda: statuses(folder)["b512-s1"] == "queued", "it waits again")
    for text, trial in zip(
        told(folder)[-4:], ("b16-s0", "nobody", "b512-s0", "b512-s1"), strict=True
    ):
        assert trial in text
    for trial in ("b16-s1", "b512-s1", "b512-s0"):
        ask(lab, folder, f"Skip('{trial}')")
    until(lambda: not conductor_lives(folder), "nothing is left to do")
    (listed,) = lab.listed()
    assert (listed["state"], listed["trials"], listed["finished"]) == ("finished", 4, 0)

    ask(lab, folder, "Retry('b16-s0')")
    until(lambda: statuses(folder)["b16-s0"] == "running", "a new conductor runs it")
    again = state_of(folder).trials["b16-s0"]
    assert (again.attempt, again.started and again.started.resumed_steps) == (2, None)
    assert [*statuses(folder).values()].count("skipped") == 3
    assert (folder / "commands.jsonl").read_text().count("Retry") == 0


# ---- adding a batch size

SHORT = LONG.replace("epochs = 150", "epochs = 2").replace("[16, 512]", "[128, 512]")


@pytest.mark.campaign
def test_an_added_batch_size_survives_a_crash_and_is_exported(lab: Lab) -> None:
    out = lab.root / "out"
    lab.start("--export", str(out), "--preset", preset_file(lab, SHORT), "--workers", "2")
    folder = lab.only_folder()
    until(lambda: conductor_lives(folder) and state_of(folder).conductor is not None, "it lives")
    commands.send(folder, commands.Pause())
    until(lambda: paused(folder) and bool(state_of(folder).data), "it waits, with its images")
    for size in (64, 64, 5000):
        commands.send(folder, commands.Add(size))
    until(lambda: len(told(folder)) > 2 and "5,000" in told(folder)[-1], "all three were heard")
    os.kill(conductor_of(folder), signal.SIGKILL)
    until(lambda: not conductor_lives(folder), "the conductor is gone")
    texts = told(folder)
    assert any("2 trials of batch size 64" in text for text in texts)
    assert any("batch size 64: already" in text for text in texts)
    assert any("batch size 5,000: " in text and "1,437" in text for text in texts)
    outcome = lab.run("resume", folder.name)
    assert outcome.code == 0, outcome.err
    assert set(statuses(folder)) == {
        f"b{size}-s{seed}" for size in (64, 128, 512) for seed in (0, 1)
    }
    assert set(statuses(folder).values()) == {"finished"}

    outcome = lab.run("--export", str(out), "--overwrite", "--sweep", folder.name)
    assert outcome.code == 0, outcome.err
    assert tomllib.loads((out / SWEEP).read_text())["grid"]["batch_size"] == [128, 512, 64]
    again = lab.root / "again"
    outcome = lab.run("--export", str(again), "--preset", str(out / SWEEP))
    assert outcome.code == 0, outcome.err
    assert by_trial(again) == by_trial(out)


def by_trial(export: Path) -> list[Any]:
    """The figures of every trial, in the order of their names: an addition comes last."""
    found = figures(export)
    return sorted(found["trials.csv"], key=lambda row: str(row["trial"]))


def test_a_batch_size_is_added_to_an_ended_sweep(tmp_path: Path) -> None:
    lab = copy_of_recorded(tmp_path)
    try:
        folder = lab.only_folder()
        ask(lab, folder, "Add(128)")
        until(lambda: not conductor_lives(folder), "the new trials have ended")
        state = state_of(folder)
        assert list(state.configurations) == ["b64", "b512", "b128"]
        assert state.added == ["b128"]
        assert state.count("finished") == len(state.trials) == 6
        assert state.ended is not None
        assert (state.ended.state, state.ended.trials) == ("finished", 6)
        assert [trial.attempt for trial in state.trials.values()] == [1] * 6
    finally:
        lab.close()


def test_an_addition_that_was_stored_but_not_journaled_is_journaled_later(lab: Lab) -> None:
    folder = started_on(lab, ENDLESS, "--workers", "1")
    assert lab.run("stop", folder.name).code == 0
    preset = with_batch_size(read_raw(folder), 100, state_of(folder))
    store(folder, preset.raw)
    lab.start("resume", folder.name)
    until(lambda: "b100-s0" in state_of(folder).trials, "it is stated")

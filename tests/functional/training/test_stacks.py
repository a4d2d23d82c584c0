"""Replicates that are trained as one stack, with real conductors and workers.

Whatever becomes of one of them, or of their worker, the figures are those of a sweep in peace.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from tests.functional.asking import ask
from tests.functional.crash_campaign import TABLES, Table, tables
from tests.functional.lab import Lab, ended, events_of, state_of, until

PRESET = """
title = "Stacks"
seeds = 5
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
batch_size = 50
lr = 0.05
epochs = 250
[memory]
micro_batch_size = 50
[run]
stack = 3
"""
UNPROBED = TABLES[:3]
NAMES = [f"b50-s{seed}" for seed in range(5)]
FIRST, SECOND = NAMES[:3], NAMES[3:]


def begin(lab: Lab) -> Path:
    """A sweep that runs on two workers, past its first epochs."""
    (lab.root / "stacks.toml").write_text(PRESET)
    path = str(lab.root / "stacks.toml")
    lab.start("--preset", path, "--export", "out", "--workers", "2")
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "a conductor has taken charge")
    until(lambda: kept(folder, NAMES[0]) and kept(folder, NAMES[3]), "both stacks are kept")
    return folder


def kept(folder: Path, trial: str) -> bool:
    """Whether a trial's training is on the disk."""
    place = checkpoints.folder_of(folder, state_of(folder).job_of(trial))
    return checkpoints.latest_header(place) is not None


def comes_to_its_end(folder: Path) -> None:
    until(lambda: not conductor_lives(folder), "the sweep has ended")


def exported(folder: Path, to: Path) -> dict[str, Table]:
    write_export(folder, to, report=False)
    return tables(to, UNPROBED)


def only(found: dict[str, Table], *trials: str) -> dict[str, Table]:
    return {name: [row for row in rows if row["trial"] in trials] for name, rows in found.items()}


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A sweep that nobody disturbed."""
    lab = Lab(tmp_path_factory.mktemp("peace"))
    (lab.root / "stacks.toml").write_text(PRESET)
    path = str(lab.root / "stacks.toml")
    done = lab.run("--preset", path, "--export", "out", "--workers", "2")
    assert done.code == 0, done.err
    return lab


@pytest.fixture(scope="module")
def figures(peace: Lab) -> dict[str, Table]:
    return tables(peace.cwd / "out", UNPROBED)


def test_every_replicate_is_trained_in_its_stack(peace: Lab) -> None:
    folder = peace.only_folder()
    state = state_of(folder)
    assert [state.trials[name].status for name in NAMES] == ["finished"] * 5
    assert [state.trials[name].started.stacked for name in NAMES] == [3, 3, 3, 2, 2]  # type: ignore[union-attr]
    assert {state.plans[name].members for name in NAMES} == {tuple(FIRST), tuple(SECOND)}
    assert "3 replicates as one stack: as the preset says" in state.plans[NAMES[0]].reason
    accuracies = {state.trials[name].last.test_accuracy for name in NAMES}  # type: ignore[union-attr]
    assert len(accuracies) > 1, "each has its own weights and order"
    workers = {state.trials[name].started.worker for name in NAMES}  # type: ignore[union-attr]
    assert workers == {0, 1}
    assert not list((folder / checkpoints.TRIALS).glob("*"))


def test_its_export_reproduces_the_same_bits(
    peace: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    """On one worker, from the plans that it holds."""
    assert [len(p.members) for p in load_preset(peace.cwd / "out" / SWEEP).plans] == [3, 2]
    lab = Lab(tmp_path)
    words = ["--preset", str(peace.cwd / "out" / SWEEP), "--export", "again", "--workers", "1"]
    done = lab.run(*words)
    assert done.code == 0, done.err
    assert tables(lab.cwd / "again", UNPROBED) == figures


def test_a_killed_worker_loses_no_figures(
    lab: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    folder = begin(lab)
    ready = [event for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    worker = state_of(folder).trials[FIRST[0]].started.worker  # type: ignore[union-attr]
    os.kill(next(event.pid for event in ready if event.worker == worker), signal.SIGKILL)
    comes_to_its_end(folder)
    assert exported(folder, tmp_path / "out") == figures
    again = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted) and e.attempt == 2]
    assert [event.trial for event in again] == FIRST
    assert len({event.resumed_steps for event in again}) == 1
    assert again[0].resumed_steps


def test_stop_and_resume_give_the_same_figures(
    lab: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    folder = begin(lab)
    assert lab.run("stop", folder.name).code == 0
    assert state_of(folder).count("stopped") == 5
    done = lab.run("resume", folder.name)
    assert done.code == 0, done.err
    assert exported(folder, tmp_path / "out") == figures
    again = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted) and e.attempt == 2]
    assert sorted(event.trial for event in again) == NAMES
    assert all(event.resumed_steps for event in again)


@pytest.mark.campaign
def test_a_skipped_replicate_does_not_change_the_others_and_can_be_retried(
    lab: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    folder = begin(lab)
    skipped = FIRST[1]
    commands.send(folder, commands.Skip(skipped))
    until(lambda: state_of(folder).trials[skipped].status == "skipped", "it is skipped")
    assert state_of(folder).trials[FIRST[0]].status == "running"
    copy = tmp_path / "copy"
    comes_to_its_end(folder)
    shutil.copytree(folder, copy)
    others = [name for name in NAMES if name != skipped]
    assert only(exported(copy, tmp_path / "without"), *others) == only(figures, *others)
    started = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted)]
    assert [e.trial for e in started].count(FIRST[0]) == 1, "it was not begun again"

    ask(lab, folder, f"Retry({skipped!r})")
    until(lambda: state_of(folder).trials[skipped].status == "finished", "it has finished")
    comes_to_its_end(folder)
    assert exported(folder, tmp_path / "with") == figures
    assert not list((folder / checkpoints.TRIALS).glob("*"))


@pytest.mark.campaign
def test_a_replicate_retried_during_its_stack_has_the_same_figures(
    lab: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    folder = begin(lab)
    both = (SECOND[0], FIRST[2])
    for name in both:
        commands.send(folder, commands.Skip(name))
    until(lambda: state_of(folder).count("skipped") == 2, "two are skipped")
    for name in both:
        commands.send(folder, commands.Retry(name))
    comes_to_its_end(folder)
    assert exported(folder, tmp_path / "out") == figures


@pytest.mark.campaign
def test_a_pause_applies_to_whole_stacks(
    lab: Lab, figures: dict[str, Table], tmp_path: Path
) -> None:
    folder = begin(lab)
    commands.send(folder, commands.Pause())
    until(lambda: state_of(folder).paused_at is not None, "it is paused")
    commands.send(folder, commands.Skip(FIRST[0]))
    commands.send(folder, commands.Continue())
    comes_to_its_end(folder)
    state = state_of(folder)
    assert [state.trials[name].status for name in NAMES] == ["skipped", *["finished"] * 4]
    assert only(exported(folder, tmp_path / "out"), *NAMES[1:]) == only(figures, *NAMES[1:])


def test_measurements_are_recorded_and_reused(lab: Lab, tmp_path: Path) -> None:
    """Whatever the machine says, its export trains to the same bits."""
    (lab.root / "auto.toml").write_text(PRESET.replace("stack = 3", 'stack = "auto"'))
    words = ["--preset", str(lab.root / "auto.toml"), "--set", "train.epochs=5", "--workers", "2"]
    done = ended(lab.start(*words, "--export", "out"))
    assert done.code == 0, done.err
    (paced,) = [e for e in events_of(lab.only_folder()) if isinstance(e, ev.Paced)]
    assert (paced.trial, paced.asked, paced.threads, paced.workers) == (NAMES[0], 5, 1, 0)
    assert paced.stacks[0].size == 1
    assert all(stack.seconds > 0 for stack in paced.stacks)
    plans = load_preset(lab.cwd / "out" / SWEEP).plans
    assert sorted(name for plan in plans for name in plan.members) == NAMES
    again = Lab(tmp_path / "again")
    words = ["--preset", str(lab.cwd / "out" / SWEEP), "--export", "out"]
    done = again.run(*words)
    assert done.code == 0, done.err
    assert not [e for e in events_of(again.only_folder()) if isinstance(e, ev.Paced)]
    assert tables(again.cwd / "out", UNPROBED) == tables(lab.cwd / "out", UNPROBED)

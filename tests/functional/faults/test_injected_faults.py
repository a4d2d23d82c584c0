"""Injected faults: errors of a GPU, and a clock that is changed all the time."""

import csv
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from tests.functional.faults import injection
from tests.functional.lab import Lab, events_of, state_of

PRESET = """
title = "With a broken card"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[train]
lr = 0.05
epochs = 12
[memory]
micro_batch_size = 200
[grid]
batch_size = [32, 64, 128]
"""
SAID = "cpu: AcceleratorError: CUDA error: an illegal memory access was encountered"


def run(lab: Lab, code: int, *words: str, **environment: str) -> Path:
    (lab.root / "broken.toml").write_text(PRESET)
    preset = str(lab.root / "broken.toml")
    done = lab.run("--preset", preset, "--export", "out", "--workers", "2", *words, **environment)
    assert done.code == code, done.err
    return lab.only_folder()


def test_a_device_error_ends_the_worker_and_no_trial(lab: Lab) -> None:
    """In the same process every later trial would fail too."""
    flag = lab.root / "flag"
    flag.touch()
    variables = injection.write(lab.root / "hook", injection.HOOK)
    folder = run(lab, 0, **variables, FAULT_FLAG=str(flag))
    assert not flag.exists()
    events = events_of(folder)
    (lost,) = [event for event in events if isinstance(event, ev.WorkerLost)]
    assert lost.reason == SAID
    assert {trial.status for trial in state_of(folder).trials.values()} == {"finished"}
    again = [e for e in events if isinstance(e, ev.TrialStarted) and e.attempt > 1]
    assert len(again) == 1


@pytest.mark.campaign
def test_running_out_of_memory_in_an_update_changes_no_bit(lab: Lab) -> None:
    """Half of the update may be done, so the trial resumes from the checkpoint before it."""
    flag = lab.root / "flag"
    flag.touch()
    variables = injection.write(lab.root / "hook", injection.SHORT)
    folder = run(lab, 0, **variables, FAULT_FLAG=str(flag))
    assert not flag.exists()
    (lost,) = [event for event in events_of(folder) if isinstance(event, ev.WorkerLost)]
    assert "OutOfMemoryError" in lost.reason
    hurt = figures_of(lab.cwd / "out")
    flag.touch()
    done = lab.run("--preset", str(lab.root / "broken.toml"), "--export", "whole", "--workers", "2")
    assert done.code == 0, done.err
    assert hurt == figures_of(lab.cwd / "whole")


def figures_of(export: Path) -> list[dict[str, str]]:
    """Return the epochs of every trial, without fields that depend on the machine."""
    with open(export / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("epoch_seconds", "samples_per_second", "warm_up_seconds", "peak_memory_bytes")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


@pytest.mark.campaign
def test_only_the_trial_that_breaks_every_device_fails_after_three_retries(lab: Lab) -> None:
    variables = injection.write(lab.root / "hook", injection.HOOK)
    folder = run(lab, 1, **variables, FAULT_FLAG=str(lab.root / "none"), FAULT_BATCH="64")
    trials = state_of(folder).trials
    assert {name: trial.status for name, trial in trials.items()} == {
        **{"b32-s0": "finished", "b64-s0": "failed", "b128-s0": "finished"}
    }
    assert trials["b64-s0"].reason == f"{SAID} (after 3 retries)"


def test_a_changing_clock_disturbs_nothing(lab: Lab) -> None:
    variables = injection.write(lab.root / "hook", injection.STEPPED)
    folder = run(lab, 0, **variables)
    events = events_of(folder)
    stamps = [event.at for event in events if event.at]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < 600.0
    state = state_of(folder)
    assert state.ended
    assert state.ended.seconds < 600.0
    for trial in state.trials.values():
        assert trial.status == "finished"
        assert all(0.0 < record.seconds < 60.0 for record in trial.records)

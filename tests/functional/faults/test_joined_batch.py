"""A training whose epochs end in a joined batch is killed and resumed, with the same results."""

import os
import signal
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.export.bundle import write_export
from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.crash_campaign import TABLES, tables
from tests.functional.lab import Lab, conductor_of, ended, state_of, until

PRESET = """
title = "To be killed"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
batch_norm = true
[train]
batch_size = 359
lr = 0.05
epochs = 500
[memory]
micro_batch_size = 180
[run]
stack = "never"
"""


@pytest.mark.campaign
def test_killed_and_resumed(lab: Lab, tmp_path: Path) -> None:
    path = lab.root / "joined.toml"
    path.write_text(PRESET)
    follower = lab.start("--preset", str(path), "--workers", "2")
    folder = lab.only_folder()
    kept = folder / checkpoints.TRIALS
    until(lambda: bool(list(kept.glob("*/checkpoint.pt"))), "a trial is kept")
    os.kill(conductor_of(folder), signal.SIGKILL)
    ended(follower)
    until(lambda: not conductor_lives(folder), "everything is dead")
    assert lab.run("resume", folder.name).code == 0
    state = state_of(folder)
    assert {trial.status for trial in state.trials.values()} == {"finished"}
    assert any(trial.started and trial.started.resumed_steps for trial in state.trials.values())
    write_export(folder, tmp_path / "resumed", report=False)
    assert lab.run("--preset", str(path), "--export", str(tmp_path / "whole")).code == 0
    found, expected = (tables(tmp_path / name, TABLES[:3]) for name in ("resumed", "whole"))
    assert found == expected
    assert {row["steps"] for row in found["trials.csv"]} == {"2000"}

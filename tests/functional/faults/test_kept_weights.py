"""Final weights on a real full disk, and of a sweep that was killed before they were recorded."""

import hashlib
import shutil
from pathlib import Path

import pytest

from batchscope.engine.checkpoints.kept_weights import file_of
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional import disks
from tests.functional.lab import Lab, a_lab, events_of, sets, state_of

PRESET = """
title = "Larger than the disk"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [1500, 1000]
[train]
batch_size = 512
lr = 0.05
epochs = 1
[run]
keep_weights = true
"""
SIZE = 6 << 20  # the weights have 6.5 MB


def test_a_full_disk_costs_the_weights_and_not_the_result(tmp_path: Path) -> None:
    with disks.small_disk(tmp_path / "disk", SIZE) as mounted, a_lab(tmp_path) as lab:
        if not mounted:
            pytest.skip("mounting a small disk needs root")
        lab.bare, lab.home = True, tmp_path / "disk"
        (lab.cwd / "large.toml").write_text(PRESET)
        done = lab.run("--preset", "./large.toml", "--export", "out", "--weights")
        assert done.code == 0, done.err
        folder = lab.only_folder()
        (trial,) = state_of(folder).trials.values()
        assert trial.status == "finished"
        assert trial.last
        assert trial.weights
        assert "No space left" in trial.weights.reason
        said = [line for line in done.err.splitlines() if "No space left" in line]
        assert any("weights could not be kept" in line for line in said)
        assert any("no weights of 1 trial" in line for line in said)
        assert not list(folder.rglob("*safetensors*"))
        assert not list((lab.cwd / "out" / "weights").iterdir())


def test_a_kill_before_the_weights_were_recorded_changes_no_byte(lab: Lab) -> None:
    small = sets("seeds=2", "train.epochs=3", "grid.batch_size=[64]", "run.keep_weights=true")
    stacked = sets("run.stack=2")
    done = lab.run("--preset", "quickstart", *small, *stacked, "--export", "out", "--quiet")
    assert done.code == 0, done.err
    folder = lab.only_folder()
    kept = [event for event in events_of(folder) if isinstance(event, ev.WeightsKept)]
    assert len(kept) == 2
    content = (folder / journal.NAME).read_bytes()
    first = content.index(b'"kind":"weights"')
    (folder / journal.NAME).write_bytes(content[: content.rindex(b"\n", 0, first) + 1])
    written, lost = (file_of(folder, event.trial) for event in kept)
    written.with_name(f"{written.name}.tmp").write_bytes(b"half of it")
    shutil.rmtree(lost.parent)
    again = lab.run("resume", folder.name)
    assert again.code == 0, again.err
    trials = state_of(folder).trials
    for event in kept:
        assert trials[event.trial].attempt == 2
        weights = trials[event.trial].weights
        assert weights
        assert (weights.digest, weights.bytes) == (event.digest, event.bytes)
        stored = file_of(folder, event.trial)
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == event.digest
        assert [path.name for path in stored.parent.iterdir()] == [stored.name]

"""A real full disk: the training continues with a warning, and nothing is lost or mixed up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from tests.functional import disks
from tests.functional.disks import fill
from tests.functional.lab import Lab, a_lab, ended, events_of, state_of, until

LONG = """
title = "Long"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[train]
batch_size = 64
lr = 0.05
epochs = {epochs}
[[plan]]  # one thread: with more a busy machine slows it down
group = "b64-s0"
members = ["b64-s0"]
batch_size = 64
micro_batch_size = 64
accumulation_steps = 1
evaluation_batch_size = 500
threads = 1
"""
SIZE = 32 << 20  # a journal of short epochs grows by an eighth of a megabyte a second


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 megabytes."""
    with disks.small_disk(tmp_path / "disk", SIZE) as mounted:
        if not mounted:
            pytest.skip("mounting a small disk needs root")
        yield tmp_path / "disk"


@pytest.fixture
def lab(small_disk: Path, tmp_path: Path) -> Iterator[Lab]:
    """A home on the small disk."""
    with a_lab(tmp_path) as made:
        made.home = small_disk
        yield made


def begin(lab: Lab, epochs: int) -> Path:
    (lab.root / "long.toml").write_text(LONG.format(epochs=epochs))
    lab.start("--preset", str(lab.root / "long.toml"), "--export", str(lab.root / "out"))
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "the journal is there")
    until(lambda: bool(list((folder / "trials").glob("*/checkpoint.pt"))), "it trains")
    return folder


@pytest.mark.campaign
def test_a_disk_that_is_full_for_a_while_loses_nothing(lab: Lab) -> None:
    folder = begin(lab, epochs=100_000_000)
    filler = lab.home / disks.FILLER

    def is_full() -> bool:
        fill(lab.home)  # again: a checkpoint that was not whole has given its room back
        return "No space left" in notice.read(folder)

    until(is_full, "a notice says that the disk is full")
    (seen,) = state_of(folder).trials.values()
    steps = seen.last.steps if seen.last else 0  # the disk may have been full before the first
    filler.unlink()
    until(lambda: notice.read(folder) == "", "there is room again")

    def caught_up() -> bool:
        (trial,) = state_of(folder).trials.values()
        return trial.last is not None and trial.last.steps > steps

    until(caught_up, "what happened meanwhile is written down")
    (trial,) = state_of(folder).trials.values()
    assert [record.epoch for record in trial.records] == list(range(1, len(trial.records) + 1))
    fill(lab.home)
    stopped = lab.run("stop", "--all")  # asked by a signal, since no command can be written
    assert stopped.code == 0, stopped.err


@pytest.mark.campaign
def test_a_sweep_that_ends_on_a_full_disk_can_be_resumed(lab: Lab) -> None:
    folder = begin(lab, epochs=400)
    filler = fill(lab.home)
    (follower,) = lab._started
    outcome = ended(follower)
    assert outcome.code == 3, outcome.err
    assert "warning: the journal cannot be written" in outcome.err
    assert "No space left on device" in outcome.err
    filler.unlink()
    resumed = lab.run("resume", folder.name)
    assert resumed.code == 0, resumed.err
    (trial,) = state_of(folder).trials.values()
    assert trial.status == "finished"
    assert [record.epoch for record in trial.records] == list(range(1, 401))
    starts = [event for event in events_of(folder) if isinstance(event, ev.TrialStarted)]
    assert [start.attempt for start in starts] == [1, 2]
    assert starts[1].resumed_steps

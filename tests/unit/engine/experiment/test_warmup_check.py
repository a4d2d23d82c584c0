"""A preset whose learning rate or batch size is certainly never reached is refused."""

import tomllib
from typing import Any

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import assign, parse_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.add_batch_size import with_batch_size

BASE = """
title = "made up"
[data]
name = "digits"
[model]
name = "mlp"
[train]
batch_size = 64
lr = 0.5
epochs = 3
[scaling]
warmup_epochs = 1
"""
READY = ev.DataReady(name="digits", train=1437, test=360, shape=(1, 8, 8), digest="")


def raw(*assignments: str) -> dict[str, Any]:
    written = tomllib.loads(BASE)
    for each in assignments:
        assign(written, each)
    return written


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["scaling.warmup_epochs=4"], ("scaling.warmup_epochs: ", "4 epochs", "train.epochs = 3")),
        (["train.epochs=", "train.steps=22"], ("train.steps = 22", "of 0.5 is never reached")),
        (["train.epochs=", "train.samples=1300"], ("train.samples = 1,300",)),
        (
            ["schedule.batch_warmup_epochs=3", "schedule.batch_warmup_start=8"],
            ("schedule.batch_warmup_epochs: ", "train.epochs = 3", "batch size of 64"),
        ),
        (["grid.batch_size=[8, 64]", "scaling.warmup_epochs=4"], ("(configuration '8')",)),
    ],
)
def test_it_is_refused_with_file_key_and_numbers(
    assignments: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageProblem) as problem:
        parse_preset(raw(*assignments), "p", "file.toml")
    assert str(problem.value).startswith("file.toml: ")
    for word in words:
        assert word in str(problem.value)
    assert parse_preset(raw(*assignments), "p", "file.toml", stored=True).configurations


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["scaling.warmup_epochs=3"],
        ["train.epochs=", "train.steps=23"],
        ["train.epochs=", "train.seconds=1", "scaling.warmup_epochs=100"],
        # a folder of the user may have fewer images, so that the warmup has fewer steps
        ["data.name=mnist", "train.epochs=", "train.steps=22"],
        ["train.target_accuracy=0.5"],
    ],
)
def test_what_may_be_reached_is_not(assignments: list[str]) -> None:
    assert parse_preset(raw(*assignments), "p", "file.toml").configurations


def test_adding_a_batch_size_is_checked_too() -> None:
    """In 25 steps, two epochs of warmup end for batches of 128 and more, and not for 32."""
    state = SweepState().fold([READY])
    steps = ("train.epochs=", "train.steps=25", "scaling.warmup_epochs=2", "train.batch_size=128")
    assert with_batch_size(raw(*steps), 256, state).configurations
    for known in (state, SweepState()):
        with pytest.raises(UsageProblem) as problem:
            with_batch_size(raw(*steps), 32, known)
        assert str(problem.value).startswith("batch size 32: scaling.warmup_epochs: ")
        assert "train.steps = 25" in str(problem.value)


def test_a_started_sweep_of_an_earlier_version_still_grows() -> None:
    """Its own warmup is too long, that of the batch size to add is not."""
    steps = ("train.epochs=", "train.steps=25", "scaling.warmup_epochs=2", "train.batch_size=32")
    after = with_batch_size(raw(*steps), 256, SweepState().fold([READY]))
    assert len(after.configurations) == 2

"""A metric that a task does not have is refused before the first step, with the nearest name."""

import pytest

from tests.functional.lab import Lab, state_of

pytestmark = pytest.mark.campaign  # every process that runs a person's code loads torch

MODULE = """
import torch
from torch import nn
import batchscope

def loss(model, batch):
    inputs, expected = batch
    return ((model(inputs)[:, 0] - expected) ** 2).sum(), len(expected)

def mae(model, batch):
    inputs, expected = batch
    return (model(inputs)[:, 0] - expected).abs().sum(), len(expected)

def make(seed):
    inputs = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    data = inputs, inputs.sum(1)
    return batchscope.Task(
        model=nn.Linear(3, 1), train=data, validation=data, test=data,
        loss=loss, metrics={"mae": mae}, better={"mae": "lower"},
    )
"""
PRESET = """title = "Mine"
seeds = 2
[task]
use = "mine:make"
[train]
lr = 0.1
epochs = 1
[grid]
batch_size = [8, 16]
"""
TARGET = '[train]\ntarget_metric = "mea"\ntarget_value = 0.1\n'
SELECT = '[select]\nlr = [0.1, 0.2]\nby = "validation_mea"\n'
CLAIM = """[[claims]]
statement = "16 has the higher error"
measure = "test_mea"
left = { batch_size = 16 }
relation = "greater"
right = { batch_size = 8 }
"""


@pytest.mark.parametrize(
    ("preset", "key", "nearest"),
    [
        (PRESET.replace("[train]\n", TARGET), "train.target_metric", "'mae'"),
        (PRESET + SELECT, "select.by", "'validation_mae'"),
        (PRESET + CLAIM, "claims[0].measure", "'test_mae'"),
    ],
    ids=["target", "select", "claim"],
)
def test_a_metric_that_the_task_lacks(lab: Lab, preset: str, key: str, nearest: str) -> None:
    (lab.cwd / "mine.py").write_text(MODULE)
    (lab.cwd / "mine.toml").write_text(preset)
    outcome = lab.run("--preset", "mine.toml", "--trust", ".", "--workers", "1", "--export", "out")
    assert outcome.code == 2
    (said,) = {line for line in outcome.err.splitlines() if key in line}
    assert said.endswith(f"did you mean {nearest}?")
    assert "Traceback" not in outcome.err + outcome.out
    state = state_of(lab.only_folder())
    assert not any(trial.started for trial in state.trials.values())
    assert not (lab.cwd / "out").exists()
    assert "start a new one" in outcome.out
    assert "batchscope resume" not in outcome.out + outcome.err
    folder = lab.only_folder()
    before = (folder / "journal.jsonl").read_bytes()
    for words in ((), ("--accept-code",)):
        again = lab.run("resume", folder.name, *words)
        assert again.code == 2
        assert key in again.err
    assert (folder / "journal.jsonl").read_bytes() == before

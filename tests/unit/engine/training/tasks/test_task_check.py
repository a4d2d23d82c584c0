"""What `batchscope check` finds of data that change, and of a `split` that loses something."""

from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.task_table import TaskTable
from batchscope.engine.training.tasks.check_row import CheckRow
from batchscope.engine.training.tasks.task_check import TaskCheck
from tests.broken.loaded_kinds import loaded

MODULE = """
import random

import numpy as np
import torch
from torch import nn

from batchscope import Task

OWN = np.random.default_rng(0)


class Samples(torch.utils.data.Dataset):
    def __init__(self, noise):
        self.noise, self.reads = noise, 0

    def __len__(self):
        return 40

    def __getitem__(self, number):
        self.reads += 1
        x = torch.tensor([number / 40, 1.0, float("nan")])[:3]
        if self.noise == "seeded":
            x = x + torch.rand(3) + random.random() + float(np.random.rand())
        if self.noise == "own generator":
            x = x + float(OWN.random())
        if self.noise == "count":
            x = x + self.reads
        return x, x[0]


def loss(model, batch):
    x, y = batch
    return ((model(x[:, :2]).squeeze(1) - y) ** 2).sum(), len(y)


def whole(batch, parts):
    size = -(-len(batch[1]) // parts)
    return list(zip(*(torch.split(each, size) for each in batch), strict=True))


def shuffled(batch, parts):
    x, y = batch
    return whole((x, y.flip(0)), parts)


def doubled(batch, parts):
    first = whole(batch, parts)[0]
    return [first] * parts


def fails(batch, parts):
    raise ValueError("cannot split")


SPLITS = {"whole": whole, "shuffled": shuffled, "doubled": doubled, "fails": fails}


def make(seed, noise="", split=""):
    return Task(
        model=nn.Linear(2, 1), train=Samples(noise), loss=loss, split=SPLITS.get(split),
    )
"""


def rows(folder: Path, **arguments: Any) -> dict[str, CheckRow]:
    (folder / "mine.py").write_text(MODULE)
    with loaded(folder, "", use="mine:make") as host:
        host.table = TaskTable(use="mine:make", arguments=tuple(arguments.items()))
        return {row.name: row for row in TaskCheck(host, 8).rows()}


@pytest.mark.parametrize("noise", ["", "seeded"])
def test_samples_that_are_drawn_as_they_should(tmp_path: Path, noise: str) -> None:
    found = rows(tmp_path, noise=noise)
    assert found["same sample each time"].verdict == "ok"
    assert found["cut of a batch"].verdict == "ok"


@pytest.mark.parametrize("noise", ["own generator", "count"])
def test_samples_that_change_when_they_are_read_again(tmp_path: Path, noise: str) -> None:
    found = rows(tmp_path, noise=noise)
    row = found["same sample each time"]
    assert row.verdict == "note"
    assert "Samples, " in row.text
    assert "mine.py, line" in row.text
    assert "resumed" in row.text
    assert found["cut of a batch"].verdict == "note", "it is not the fault of the loss"


@pytest.mark.parametrize(
    ("split", "verdict", "text"),
    [
        ("whole", "ok", "2 and 3 parts"),
        ("shuffled", "wrong", "one part"),
        ("doubled", "wrong", "every sample must be in exactly one part"),
        ("fails", "wrong", "ValueError: cannot split"),
    ],
)
def test_a_split_is_tried(tmp_path: Path, split: str, verdict: str, text: str) -> None:
    row = rows(tmp_path, split=split)["own split"]
    assert row.verdict == verdict
    assert text in row.text
    assert verdict == "ok" or "mine.py, line" in row.text


def test_without_a_split_there_is_no_row(tmp_path: Path) -> None:
    assert "own split" not in rows(tmp_path)

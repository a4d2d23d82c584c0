"""Folders with code of a person, whose modules say which process has imported them."""

import json
from pathlib import Path
from typing import Any

TRAPS = (
    # names of ours, of the standard library, of packages that we use, and of Python's hooks
    *("engine", "tui", "utils", "sitecustomize", "usercustomize"),
    *("json", "random", "typing", "dataclasses", "difflib", "argparse", "subprocess", "asyncio"),
    *("torch", "numpy", "textual", "rich", "psutil", "msgspec", "platformdirs", "matplotlib"),
)
TRAP = """
import os as _os, sys as _sys
with open({log!r}, "a") as _file:
    _file.write(_sys.orig_argv.__repr__() + " " + __name__ + "\\n")
"""
PRESET = """title = "Mine"
seeds = 2
[task]
use = "mine:make"
[train]
lr = 0.1
epochs = 1
[memory]
micro_batch_size = 8
[run]
stack = "never"
[grid]
batch_size = [8]
"""
TASK = """
import torch
from torch import nn
import batchscope
import engine, utils

def loss(model, batch):
    inputs, expected = batch
    return ((model(inputs)[:, 0] - expected) ** 2).sum(), len(expected)

def make(seed):
    {first}
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    return batchscope.Task(
        model=nn.Linear(3, 1), train=(inputs, inputs.sum(1)), test=(inputs, inputs.sum(1)),
        loss=loss,
    )
"""


class OwnCode:
    """A folder with a task, its preset, and traps beside them."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self._log = folder, log
        for name in TRAPS:
            (folder / f"{name}.py").write_text(TRAP.format(log=str(log)))
        (folder / "mine.toml").write_text(PRESET)
        self.write()

    def write(self, first: str = "pass") -> None:
        """Write the task; `first` is the first statement of its function."""
        trap = TRAP.format(log=str(self._log))
        (self.folder / "mine.py").write_text(trap + TASK.format(first=first))

    @property
    def imported(self) -> list[str]:
        """The processes that have imported something of it, with the name of the module."""
        return self._log.read_text().splitlines() if self._log.exists() else []


def ended_as(folder: Path) -> dict[str, Any]:
    """Return the last event of the end of a sweep."""
    lines = (folder / "journal.jsonl").read_bytes().splitlines()
    ends = [json.loads(line) for line in lines if b'"kind":"sweep_ended"' in line]
    last: dict[str, Any] = ends[-1]
    return last

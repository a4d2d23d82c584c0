"""Presets for longer sweeps, and readers of their folders."""

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import SWEEP
from tests.functional.lab import CONTRACT, Lab, state_of

TIMES = ("epoch_seconds", "samples_per_second", "warm_up_seconds")
TRIALS = ["b64-s0", "b512-s0", "b64-s1", "b512-s1"]


FOREVER = """\
title = "Two short trials and two that outlast the test"
seeds = 1
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
lr = 0.1
batch_size = 512
epochs = 2
[[cells]]
[[cells]]
lr = 0.2
[[cells]]
lr = 0.3
epochs = 100000000
[[cells]]
lr = 0.4
epochs = 100000000
"""
THREE = ("--workers", "3")
"""Three workers: two train the long trials, which come first, and one the short ones."""


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / name).read_text("utf-8"), newline="")))


def raw_events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of one kind as plain JSON, not as batchscope's types."""
    lines = (folder / journal.NAME).read_text("utf-8").splitlines()
    return [event for line in lines if (event := json.loads(line))["kind"] == kind]


def preset_file(lab: Lab, content: str) -> str:
    path = lab.root / "mine.toml"
    path.write_text(content)
    return str(path)


def statuses(folder: Path) -> dict[str, str]:
    return {trial.id: trial.status for trial in state_of(folder).trials.values()}


def under_way(folder: Path) -> bool:
    """Return whether two trials have finished and the two others are running."""
    if not (folder / journal.NAME).exists():
        return False
    found = list(
        SweepState().fold(journal.Reader(folder / journal.NAME).read_all()).trials.values()
    )
    return [trial.status for trial in found] == ["finished", "finished", "running", "running"]


def figures(export: Path) -> dict[str, Any]:
    """Return the tables and plans that must be the same when a sweep is run again."""
    found: dict[str, Any] = {}
    for name in CONTRACT:
        rows = table(export, name)
        found[name] = [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
    plans = tomllib.loads((export / SWEEP).read_text("utf-8"))["plan"]
    found["plans"] = sorted(plans, key=lambda plan: str(plan["group"]))
    return found

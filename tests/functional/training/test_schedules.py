"""Sweeps with a changing learning rate and batch size, end to end."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.lab import Lab

TIMES = ("epoch_seconds", "samples_per_second", "warm_up_seconds")
PRESET = """
title = "Everything that may change"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[train]
batch_size = 32
lr = 0.1
epochs = 4
[schedule]
at = [0.5, 0.75]
factor = 5
[[cells]]
label = "nothing"
[[cells]]
kind = "step"
label = "falls"
[[cells]]
kind = "step"
by = "batch"
max_batch_size = 320
label = "grows"
[[cells]]
kind = "cosine"
batch_warmup_epochs = 1
batch_warmup_start = 4
label = "cosine"
[[cells]]
label = "switched"
[[phases]]
at_epoch = 2
set = { lr = 0.01, train.batch_size = 8 }
where = { label = "switched" }
[[claims]]
statement = "A batch that grows needs fewer steps"
measure = "steps"
left = { label = "grows" }
relation = "less"
right = { label = "falls" }
"""
COURSES = {  # of 1,437 images: 45 steps at 32; 9 at 160; 5 at 320; 180 at 8; 4, 8, 16 in thirds
    "nothing": [(45, 0.1, 32), (90, 0.1, 32), (135, 0.1, 32), (180, 0.1, 32)],
    "falls": [(45, 0.1, 32), (90, 0.1, 32), (135, 0.02, 32), (180, 0.004, 32)],
    "grows": [(45, 0.1, 32), (90, 0.1, 32), (99, 0.1, 160), (104, 0.04, 320)],
    "cosine": [(210, None, 16), (255, None, 32), (300, None, 32), (345, None, 32)],
    "switched": [(45, 0.1, 32), (90, 0.1, 32), (270, 0.01, 8), (450, 0.01, 8)],
}


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name) as file:
        return list(csv.DictReader(file))


def figures(folder: Path) -> dict[str, Any]:
    """All that does not depend on the machine's pace."""
    return {
        name: [{k: v for k, v in row.items() if k not in TIMES} for row in table(folder, name)]
        for name in ("trials.csv", "epochs.csv", "gradient_norms.csv")
    }


@pytest.mark.campaign
def test_the_schedule_is_applied_and_its_export_repeats_it(lab: Lab) -> None:
    (lab.cwd / "changing.toml").write_text(PRESET)
    first = lab.run("--export", "out", "--preset", "changing.toml")
    assert first.code == 0, first.err
    out = lab.cwd / "out"
    labels = {row["trial"]: row["label"] for row in table(out, "trials.csv")}
    found: dict[str, list[tuple[int, float | None, int]]] = {}
    for row in table(out, "epochs.csv"):
        lr = None if labels[row["trial"]] == "cosine" else round(float(row["lr"]), 12)
        step = (int(row["steps"]), lr, int(row["last_batch_size"]))
        found.setdefault(row["trial"], []).append(step)
    assert len(found) == 10
    for trial, course in found.items():
        assert course == COURSES[labels[trial]]
    plans = {row["trial"]: row for row in table(out, "trials.csv")}
    grown = next(plans[name] for name, label in labels.items() if label == "grows")
    assert grown["batch_size"] == "32"
    assert int(grown["accumulation_steps"]) == -(-320 // int(grown["micro_batch_size"]))
    (claim,) = json.loads((out / "findings.json").read_text())["claims"]
    assert (claim["verdict"], claim["effect"]) == ("supported", -76.0)
    again = lab.run("--export", "again", "--preset", "out/sweep.toml", "--workers", "1")
    assert again.code == 0, again.err
    assert figures(lab.cwd / "again") == figures(out)


def test_a_memory_limit_applies_to_the_largest_batch(lab: Lab) -> None:
    """Of all 1,437 images not half fit at once; those of a batch of 256 do."""
    (lab.cwd / "changing.toml").write_text(PRESET.partition("[[phases]]")[0])
    outcome = lab.run(
        *("--export", "out", "--preset", "changing.toml", "--memory-limit", "5MiB"),
        *("--set", "model.hidden=[512]", "--set", "seeds=1", "--set", "train.batch_size=256"),
        *("--set", "cells=[{kind='step', by='batch', label='grows'}]", "--workers", "1"),
    )
    assert outcome.code == 0, outcome.err
    (row,) = table(lab.cwd / "out", "trials.csv")
    micro = int(row["micro_batch_size"])
    assert (row["batch_size"], row["memory_cuts"]) == ("256", "0")
    assert micro < 1437 / 2
    assert int(row["accumulation_steps"]) == -(-1437 // micro)
    sizes = [int(row["last_batch_size"]) for row in table(lab.cwd / "out", "epochs.csv")]
    assert sizes == [256, 256, 1280, 1437]
    assert 0 < int(row["peak_memory_bytes"]) < 5 * 2**20
    tried = table(lab.cwd / "out", "memory.csv")
    assert {each["batch_size"] for each in tried} == {"1437"}
    assert [each["micro_batch_size"] for each in tried if each["chosen"] == "true"] == [str(micro)]

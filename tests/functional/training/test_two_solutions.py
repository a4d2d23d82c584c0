"""Sharpness and interpolation of a real sweep: measured once, also after a kill."""

import csv
import json
import shutil
from pathlib import Path

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.lab import Lab, events_of

PRESET = """
title = "Two solutions"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
lr = 0.05
epochs = 2
[grid]
batch_size = [64, 512]
[memory]
micro_batch_size = 64
[run]
stack = "never"
[sharpness]
epsilon = [1e-3, 5e-4]
samples = 100
iterations = 3
[interpolation]
from = { batch_size = 64 }
to = { batch_size = 512 }
points = 4
[[cells]]
batch_size = 64
lr = 1e30
label = "too fast"
"""
PRESET = PRESET.replace("from = { batch_size = 64 }", 'from = { label = "64, lr 0.05" }')


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name) as file:
        return list(csv.DictReader(file))


def untimed(folder: Path, name: str) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in rows(folder, name)]


def test_lines_are_measured_once_also_after_a_kill(lab: Lab, tmp_path: Path) -> None:
    path = lab.root / "two.toml"
    path.write_text(PRESET)
    done = lab.run("--preset", str(path), "--export", "out", "--json", "--workers", "2")
    assert done.code == 0, done.err
    out, folder = lab.cwd / "out", lab.only_folder()
    trials = {row["trial"]: row for row in rows(out, "trials.csv")}
    finished = [row for row in trials.values() if row["status"] == "finished"]
    assert len(finished) == 4

    boxes = rows(out, "sharpness.csv")
    assert len(boxes) == 8
    for row in boxes:
        rise = float(row["highest_loss"]) - float(row["loss"])
        assert float(row["sharpness"]) == rise / (1 + float(row["loss"])) * 100
        if row["epsilon"] == "0.001":
            assert trials[row["trial"]]["sharpness"] == row["sharpness"]
    told = json.loads(done.out)["configurations"]
    assert [bool(each["sharpness"]) for each in told] == [each["finished"] > 0 for each in told]

    points = rows(out, "interpolation.csv")
    assert [row["alpha"] for row in points] == ["-1.0", "0.0", "1.0", "2.0"] * 2
    for row in points:
        end = {"0.0": "from_trial", "1.0": "to_trial"}.get(row["alpha"])
        if end:
            for figure in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
                assert row[figure] == trials[row[end]][figure]

    one, other = (event for event in events_of(folder) if isinstance(event, ev.Interpolated))
    content = (folder / journal.NAME).read_bytes()
    first = content.index(b'"kind":"interpolated"')
    before = content[: content.rindex(b"\n", 0, first) + 1]  # killed before the first was stated
    (folder / journal.NAME).write_bytes(before)
    shutil.rmtree(checkpoints.weights_of(folder, one.end))
    again = lab.run("resume", folder.name)
    assert again.code == 0, again.err
    found = {e.start: e for e in events_of(folder) if isinstance(e, ev.Interpolated)}
    assert len([e for e in events_of(folder) if isinstance(e, ev.Interpolated)]) == 2
    assert found[other.start].points == other.points
    assert found[one.start].reason.endswith("cannot be read: they are missing")
    write_export(folder, tmp_path / "again", report=False)
    assert untimed(tmp_path / "again", "sharpness.csv") == untimed(out, "sharpness.csv")
    assert "nothing to resume" in lab.run("resume", folder.name).err

"""`[select]` from the command line to the export, and the same sweep on the board."""

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from batchscope.tui.app import BatchscopeApp
from tests.functional.boards import loaded, part, still
from tests.functional.lab import Lab

__all__ = ["still"]

PRESET = """\
title = "Tuned"
seeds = 2
[data]
name = "digits"
validation = 0.2
[model]
name = "mlp"
hidden = [16]
[train]
epochs = 2
target_accuracy = 0.8
target_checks = 4
[grid]
batch_size = [16, 256]
[select]
lr = [0.01, 0.1]
[[claims]]
statement = "Tuned, a larger batch ends lower"
measure = "test_accuracy"
left = { label = "256" }
relation = "less"
right = { label = "16" }
"""
LEFT = 1437 - 287


def rows(out: Path, name: str) -> list[dict[str, str]]:
    with open(out / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("still")
async def test_a_tuned_sweep_from_the_command_line_to_the_board(lab: Lab) -> None:
    preset, out = lab.root / "tuned.toml", lab.root / "out"
    preset.write_text(PRESET)
    outcome = lab.run("--preset", str(preset), "--export", str(out))
    assert outcome.code == 0, outcome.err

    trials, findings = rows(out, "trials.csv"), json.loads((out / "findings.json").read_text())
    chosen = _check_choices(trials, findings["choices"])
    assert {row["configuration"] for row in trials if row["selected"] == "true"} == chosen
    assert [each["configuration"] for each in findings["findings"]["configurations"]] == sorted(
        chosen, key=lambda name: int(name[1:].split("-")[0])
    )
    for row in trials:
        _check_target(row, rows(out, "epochs.csv"))
    assert outcome.out.count("★ ") == 2
    assert "16: lr 0.1, chosen from 0.01, 0.1 (validation accuracy " in outcome.out

    (folder,) = lab.folders()
    app = BatchscopeApp(folder.parent.parent, sweep=folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        assert "16, lr 0.1 " in part(app, "pane-curves")
        assert "16, lr 0.01" not in part(app, "pane-curves")
        await pilot.press("v")
        assert "16, lr 0.01" in part(app, "pane-curves")
        await pilot.press("5")
        assert "★ chosen" in part(app, "pane-trials")
        starred = [line for line in part(app, "pane-trials").splitlines() if " ★ ✓" in line]
        assert len(starred) == 4
        await pilot.press("6")
        assert "★ 16: lr 0.1, chosen from 0.01, 0.1" in part(app, "pane-findings")


def _check_choices(trials: list[dict[str, str]], told: list[dict[str, Any]]) -> set[str]:
    """The best mean of what the table says, by hand; ids of the best."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in trials:
        accuracy = float(row["validation_accuracy"])
        found[row["batch_size"]][row["configuration"]].append(accuracy)
    best = {
        group: max(names, key=lambda name: fmean(names[name])) for group, names in found.items()
    }
    assert {choice["group"]: choice["chosen"] for choice in told} == best
    for choice in told:
        names = found[choice["group"]]
        assert {one["configuration"]: one["value"] for one in choice["candidates"]} == {
            name: pytest.approx(fmean(values)) for name, values in names.items()
        }
    return set(best.values())


def _check_target(trial: dict[str, str], epochs: list[dict[str, str]]) -> None:
    """A trial that reached its target ended at a check, with all that is counted true to it."""
    last = [row for row in epochs if row["trial"] == trial["trial"]][-1]
    reached = float(trial["validation_accuracy"]) >= 0.8
    assert reached == (trial["reason"] == "reached a validation accuracy of 0.8")
    assert trial["steps_to_target"] == (last["steps"] if reached else "")
    assert trial["samples_to_target"] == (last["samples"] if reached else "")
    size = int(trial["batch_size"])
    steps, an_epoch = int(last["steps"]), -(-LEFT // size)
    whole, rest = divmod(steps, an_epoch)
    assert int(last["samples"]) == whole * LEFT + rest * size
    if reached and rest:
        assert rest in {-(-k * an_epoch // 4) for k in (1, 2, 3)}
    if not reached:
        assert whole == 2

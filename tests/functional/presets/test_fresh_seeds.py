"""`select.seeds_after` in real sweeps: from the command line to the export, and after a kill."""

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.crash_campaign import TABLES, tables
from tests.functional.lab import Lab, events_of

PRESET = """\
title = "Tuned and confirmed"
seeds = 2
[data]
name = "digits"
validation = 0.2
[model]
name = "mlp"
hidden = [16]
[train]
epochs = 2
[memory]
micro_batch_size = 16
[run]
stack = "never"
[grid]
batch_size = [16, 64]
[[cells]]
batch_size = 64
lr = 0.2
label = "given"
[select]
lr = [0.05, 0.1]
seeds_after = 3
[[claims]]
statement = "The given rate is not as good"
measure = "test_accuracy"
left = { label = "given" }
relation = "less"
right = { label = "64" }
"""
CHOSEN = ("b16-chosen", "b64-chosen")
SAME = TABLES[:3]


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("fresh"))
    (lab.root / "tuned.toml").write_text(PRESET)
    done = lab.run("--preset", str(lab.root / "tuned.toml"), "--export", "out", "--workers", "2")
    assert done.code == 0, done.err
    (lab.root / "said.txt").write_text(done.err)
    (lab.root / "summary.txt").write_text(done.out)
    return lab


def test_the_chosen_rate_is_judged_on_its_fresh_seeds(finished: Lab) -> None:
    out = finished.cwd / "out"
    trials, told = rows(out), json.loads((out / "findings.json").read_text())
    assert len(trials) == 2 * 2 * 2 + 3 + 2 * 3
    for choice, name in zip(told["choices"], CHOSEN, strict=True):
        mine = [row for row in trials if row["configuration"] == name]
        (chosen,) = {row["lr"] for row in trials if row["configuration"] == choice["chosen"]}
        assert choice["judged"] == name
        assert {row["lr"] for row in mine} == {chosen}
        assert [int(row["seed"]) for row in mine] == [2, 3, 4]
    kept = {row["configuration"] for row in trials if row["selected"] == "true"}
    assert kept == {*CHOSEN, *(choice["chosen"] for choice in told["choices"])}
    (claim,) = told["claims"]
    sides = [
        [float(row["test_accuracy"]) for row in trials if row["label"] == label]
        for label in ("given", "64")
    ]
    assert claim["n"] == 3
    assert claim["method"] == "paired t"
    assert claim["effect"] == pytest.approx(fmean(sides[0]) - fmean(sides[1]))
    assert [each["configuration"] for each in told["findings"]["configurations"]] == [
        "b16-chosen", "b64-chosen", "b64-lr0.2"
    ]  # fmt: skip


def test_the_number_of_trials_is_stated_before_and_counted_after(finished: Lab) -> None:
    assert "11 trials and 6 after the choice" in (finished.root / "said.txt").read_text()
    summary = (finished.root / "summary.txt").read_text()
    assert "17 of 17 trials finished" in summary
    assert summary.count("judged on 3 fresh seeds") == 2
    (listed,) = finished.listed()
    assert (listed["trials"], listed["finished"]) == (17, 17)


@pytest.mark.parametrize("choice", [0, 1])
def test_a_sweep_killed_between_choice_and_fresh_seeds_ends_with_the_same_results(
    choice: int, finished: Lab, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    (folder,) = (home / "sweeps").glob("*")
    lines = (folder / journal.NAME).read_bytes().splitlines(keepends=True)
    added = [at for at, line in enumerate(lines) if json.loads(line)["kind"] == "added"]
    (folder / journal.NAME).write_bytes(b"".join(lines[: added[choice]]))
    lab = Lab(tmp_path / "lab")
    lab.home = home
    done = lab.run("resume", folder.name)
    assert done.code == 0, done.err
    write_export(folder, tmp_path / "export", report=False)
    assert names(folder) == sorted(CHOSEN)
    found, expected = (of(p) for p in (tmp_path / "export", finished.cwd / "out"))
    assert found == expected
    lab.close()


def names(folder: Path) -> list[str]:
    events = [event for event in events_of(folder) if isinstance(event, ev.ConfigurationsAdded)]
    return sorted(each.id for event in events for each in event.configurations)


def of(export: Path) -> dict[str, Any]:
    """The tables with their rows in an order that does not depend on which group ended first."""
    return {name: sorted(map(str, each)) for name, each in tables(export, SAME).items()}

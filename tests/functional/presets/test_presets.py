"""Every shipped preset, from end to end in a reduced form."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.experiment.preset_catalog import find_preset, preset_files
from tests.dictionary import check_export
from tests.functional.lab import Lab
from tests.functional.presets.reduced import SEEDS, reduced, seeds_of
from tests.functional.report_pages import Page, check_numbers

EVERY_TIME = ("quickstart", "competition", "lr-tuned")
"""Between them stacks, a probe and a choice of rates; others take a while."""
CHOICES = {"lr-tuned": 3}
"""How many chosen candidates are trained again; `critical-batch` reaches no target in this form."""


def check_probes(out: Path, probe: dict[str, Any], finished: int) -> None:
    """Every moment of every trial has its sizes and pairs in the tables."""
    counts = {"batch_sizes": "probes.csv", "pairs": "competitions.csv"}
    for key, name in counts.items():
        if probe:
            with open(out / name) as file:
                rows = list(csv.DictReader(file))
            assert len(rows) == finished * len(probe["at"]) * len(probe.get(key, ()))
        else:
            assert not (out / name).exists()


@pytest.mark.parametrize(
    "name",
    [
        name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.campaign)
        for name in sorted(preset_files())
    ],
)
def test_a_preset_runs_to_the_end(lab: Lab, name: str) -> None:
    lab.reports = True
    outcome = lab.run("--export", "out", "--preset", name, *reduced(name))
    assert outcome.code == 0, outcome.err
    out = lab.cwd / "out"
    preset = find_preset(name)
    with open(out / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    trained = len(preset.configurations) + CHOICES.get(name, 0)
    assert len(rows) == seeds_of(name) * trained
    assert {row["status"] for row in rows} <= {"finished", "skipped"}
    finished = sum(row["status"] == "finished" for row in rows)
    assert finished
    check_probes(out, preset.raw.get("probe", {}), finished)
    with open(out / "bias_variance.csv") as file:
        parted = list(csv.DictReader(file))
    assert bool(parted) == (name in SEEDS)
    verdicts = json.loads(Path(out / "findings.json").read_text())["claims"]
    assert [verdict["statement"] for verdict in verdicts] == [
        claim.statement for claim in preset.claims
    ]
    check_export(out, "report")
    check_numbers(out, Page((out / "report.html").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "name",
    [
        name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.campaign)
        for name in sorted(preset_files())
    ],
)
def test_a_preset_has_a_question(name: str) -> None:
    preset = find_preset(name)
    assert preset.title
    assert preset.question.endswith("?")
    assert preset.source
    assert preset.claims

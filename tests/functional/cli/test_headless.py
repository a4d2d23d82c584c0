"""Headless runs in scripts: JSON lines, quiet, unfinished exports, exit codes."""

import json
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from tests.functional.board_fixtures import probed_sweep
from tests.functional.lab import (
    SMALL,
    Lab,
    a_lab,
    copy_of_recorded,
    ended,
    recorded,
    until,
    without_its_end,
)
from tests.functional.sweep_fixtures import FOREVER, THREE, TRIALS, preset_file, table, under_way
from tests.messages import says


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ---- what the recorded run said


def test_every_line_begins_with_the_five_keys_and_has_a_time_zone() -> None:
    lines = parsed(recorded().outcome.err)
    for line in lines:
        assert list(line)[:5] == ["time", "level", "event", "message", "sweep"]
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert [line["event"] for line in lines[:2]] == ["sweep-created", "sweep-opened"]
    assert {line["sweep"] for line in lines} == {recorded().folder.name}


def test_the_log_has_the_epochs_of_the_table() -> None:
    epochs = [line for line in parsed(recorded().outcome.err) if line["event"] == "epoch"]
    rows = {(row["trial"], row["epoch"]): row for row in table(recorded().export, "epochs.csv")}
    assert {(line["trial"], str(line["epoch"])) for line in epochs} == set(rows)
    assert len(epochs) == len(rows) == 8
    for line in epochs:
        row = rows[line["trial"], str(line["epoch"])]
        for key, value in line.items():
            if key in row and key != "trial":
                assert row[key] == ("" if value is None else str(value)), key


def test_the_end_of_a_trial_is_logged_with_its_figures() -> None:
    lines = parsed(recorded().outcome.err)
    ends = {line["trial"]: line for line in lines if line["event"] == "trial-finished"}
    assert sorted(ends) == sorted(TRIALS)
    for row in table(recorded().export, "trials.csv"):
        line = ends[row["trial"]]
        assert str(line["test_accuracy"]) == row["test_accuracy"]
        assert (str(line["seed"]), str(line["batch_size"])) == (row["seed"], row["batch_size"])


# ---- quiet


def test_resuming_a_finished_sweep_with_quiet_prints_nothing() -> None:
    run = recorded()
    attached = run.lab.run("attach", run.folder.name, "--quiet")
    assert (attached.code, attached.out, attached.err) == (0, "", "")
    again = run.lab.run("resume", run.folder.name, "--quiet", "--json")
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out) == {**json.loads(run.outcome.out), "export": None}


def test_a_quiet_resume_prints_only_the_summary(tmp_path: Path) -> None:
    """One trial has lost its end, as where a machine was switched off."""
    with a_lab(tmp_path) as lab:
        without_its_end(copy_of_recorded(tmp_path).only_folder())
        outcome = lab.run("resume", lab.only_folder().name, "--json", "-q")
        assert (outcome.code, outcome.err) == (0, "")
        found = json.loads(outcome.out)
        assert (found["complete"], found["finished"], found["state"]) == (True, 4, "finished")


# ---- a sweep that is not finished


def test_the_export_of_a_running_sweep_says_that_it_is_unfinished(lab: Lab) -> None:
    """Then that of the stopped one, which takes its place."""
    out = lab.root / "out"
    words = ("--preset", preset_file(lab, FOREVER), "--export", str(out), "--quiet")
    first = lab.start(*words, *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    assert conductor_lives(folder)

    running = lab.run("--export", str(out), "--sweep", folder.name)
    assert (running.code, running.err) == (130, "")
    assert running.out.splitlines()[0].startswith("UNFINISHED (running): ")
    assert "2 of 4 trials finished" in running.out
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["complete"], manifest["state"], manifest["ended"]) == (False, "running", None)
    assert json.loads((out / "findings.json").read_text())["complete"] is False

    again = json.loads(lab.run("--export", str(out), "--sweep", folder.name, "--json").out)
    assert (again["complete"], again["state"], again["finished"]) == (False, "running", 2)

    os.kill(first.pid, signal.SIGINT)
    outcome = ended(first)
    assert (outcome.code, outcome.out) == (130, "")
    assert [line.split()[1] for line in outcome.err.splitlines()] == ["warning:", "warning:"]
    stopped = lab.run("--export", str(out), "--sweep", folder.name)
    assert stopped.code == 130
    parts = f"UNFINISHED (stopped): | `batchscope resume {folder.name}`"
    assert says(stopped.out.splitlines()[0], parts)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["complete"], manifest["state"]) == (False, "stopped")
    statuses = [row["status"] for row in table(out, "trials.csv")]
    assert statuses == ["finished", "finished", "stopped", "stopped"]


def test_a_finished_export_is_complete() -> None:
    assert json.loads((recorded().export / "manifest.json").read_text())["complete"] is True
    assert json.loads((recorded().export / "findings.json").read_text())["complete"] is True
    assert json.loads(recorded().outcome.out)["complete"] is True


# ---- the same bytes


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without_files(export: dict[str, bytes]) -> dict[str, object]:
    """An export without the list of its files, which names those of TensorBoard too."""
    manifest = json.loads(export["manifest.json"])
    del manifest["files"]
    return {**export, "manifest.json": manifest}


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "4294967295", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8"},
    ],
)
def test_an_export_has_the_same_bytes_wherever_it_is_written(
    environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra batchscope[tensorboard]")
    words = ("--sweep", recorded().folder.name, "--tensorboard")
    outs = []
    for name, more in (("one", {}), ("two", environment)):
        target = tmp_path / name
        outcome = recorded().lab.run("--export", str(target), *words, **more)
        assert outcome.code == 0, outcome.err
        outs.append(content(target))
    assert outs[0] == outs[1]
    tables = {name: data for name, data in outs[0].items() if not name.startswith("tensorboard")}
    own = content(recorded().export)
    assert without_files(tables) == without_files(own), "and those of the run itself"
    assert len(outs[0]) == len(tables) + 5


def test_a_sweep_with_probes_and_claims_has_the_same_bytes_too(lab: Lab) -> None:
    folder = probed_sweep(lab.home)
    (folder / SWEEP).write_text('title = "Probed"\n')
    found = []
    for seed in ("1", "2"):
        target = lab.root / seed
        words = ("--export", str(target), "--sweep", folder.name)
        outcome = lab.run(*words, PYTHONHASHSEED=seed)
        assert outcome.code == 0, outcome.err
        found.append(content(target))
    assert found[0] == found[1]
    assert json.loads(found[0]["findings.json"])["claims"]


def test_another_version_exports_the_stored_results(tmp_path: Path) -> None:
    lab = copy_of_recorded(tmp_path)
    path = lab.only_folder() / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    old = journal.decode(lines[0].rstrip())
    assert old.program  # type: ignore[union-attr]
    said = b'"program":"%s"' % old.program.encode()  # type: ignore[union-attr]
    first = lines[0].replace(said, b'"program":"0.0.7"').partition(b',"sum"')[0] + b"}\n"
    rest = [_without_version(line) for line in lines[1:]]
    path.write_bytes(first + b"".join(rest))
    outcome = lab.run("--export", str(tmp_path / "out"), "--sweep", lab.only_folder().name)
    assert outcome.code == 0, outcome.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["versions"]["batchscope"] == "0.0.7"
    assert manifest["damaged_journal_lines"] == 0


REPLACED = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "batchscope.engine.metrics.epoch_arrays" and "--export" in sys.argv:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
"""


def test_a_program_replaced_during_a_run_says_how_to_export(lab: Lab) -> None:
    """Its conductor goes on; whoever follows it has not yet imported all that an export takes."""
    (lab.root / "sitecustomize.py").write_text(REPLACED)
    words = ("--preset", "quickstart", *SMALL, "--export", str(lab.root / "out"), "-q")
    outcome = lab.run(*words, PYTHONPATH=str(lab.root))
    name = lab.only_folder().name
    assert outcome.code == 3
    parts = (
        "batchscope was changed | No module named 'batchscope.engine.metrics.epoch_arrays'"
        f" | `batchscope --export DIR --sweep {name}`"
    )
    assert says(outcome.message, parts)
    assert lab.run("--export", str(lab.root / "out"), "--sweep", name).code == 0


def _without_version(line: bytes) -> bytes:
    """A line as an older program wrote it: its workers did not say which version they are of."""
    event = json.loads(line)
    if event["kind"] != "worker":
        return line
    del event["sum"], event["versions"]["batchscope"]
    return journal.sealed(journal.decode(json.dumps(event).encode()))

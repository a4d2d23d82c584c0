"""A real sweep of a task: who imports its code, and what happens when that changes."""

import csv
import os
import signal

import pytest

from batchscope.engine.journal.events import EpochsFinished
from tests.functional.lab import Lab, events_of, state_of, until
from tests.functional.tasks.own_code import OwnCode, ended_as

pytestmark = pytest.mark.campaign  # every process that runs a person's code loads torch

FAILS = "assert seed == 0, 'not yet'"
WORKERS = ("batchscope.engine.worker", "batchscope.engine.training.jobs.task_inspection")


def test_changed_code_stops_the_sweep_until_it_is_accepted(lab: Lab) -> None:
    own = OwnCode(lab.cwd, lab.root / "imported.log")
    own.write(FAILS)
    run = ("--preset", "mine.toml", "--export", "out", "--trust", ".", "--workers", "1")
    assert lab.run(*run).code == 1
    (folder,) = lab.folders()
    status = {name: trial.status for name, trial in state_of(folder).trials.items()}
    assert sorted(status.values()) == ["failed", "finished"]

    # its own `engine` and `utils` are those that it imports, in workers alone
    named = {line.rsplit(" ", 1)[1] for line in own.imported}
    assert named == {"mine", "engine", "utils"}
    assert all(any(worker in line for worker in WORKERS) for line in own.imported)

    own.write("pass")
    began = len(own.imported)
    before = (folder / "journal.jsonl").read_bytes()
    refused = lab.run("resume", folder.name)
    assert refused.code == 2
    (said,) = (line for line in refused.err.splitlines() if "--accept-code" in line)
    assert "mine.py" in said
    assert f"`batchscope resume {folder.name} --accept-code`" in said
    assert refused.out == ""
    # refused by the bytes of the files: nothing was started, and the sweep is as it was
    assert (folder / "journal.jsonl").read_bytes() == before
    assert len(own.imported) == began

    assert lab.run("resume", folder.name, "--accept-code").code == 0
    state = state_of(folder)
    assert state.count("finished") == 2
    failed = next(name for name, each in status.items() if each == "failed")
    assert {name for name, trial in state.trials.items() if trial.accepted_code} == {failed}
    assert len(own.imported) > began

    lab.reports = True
    assert lab.run("--export", "again", "--sweep", folder.name).code == 0
    with (lab.cwd / "again" / "trials.csv").open(newline="") as file:
        marks = {row["trial"]: row["accepted_code"] for row in csv.DictReader(file)}
    assert marks == {name: "true" if name == failed else "false" for name in status}
    report = (lab.cwd / "again" / "report.html").read_text()
    assert "trained with the new code" in report
    assert "--set task.path=CODE --trust CODE" in report


def test_a_module_that_changes_while_the_sweep_runs_stops_it(lab: Lab) -> None:
    own = OwnCode(lab.cwd, lab.root / "imported.log")
    # the second trial finds what the first one has written
    own.write(
        "import pathlib; path = pathlib.Path('utils.py'); "
        "seed == 1 and path.write_text('# edited while it runs')"
    )
    run = ("--preset", "mine.toml", "--set", "seeds=4", "--export", "out", "--trust", ".")
    assert lab.run(*run, "--workers", "1").code == 2
    (folder,) = lab.folders()
    end = ended_as(folder)
    assert "utils.py" in end["reason"]
    assert end["state"] == "stopped"
    state = state_of(folder)
    assert state.count("failed") == 0
    assert state.count("finished") == 2
    refusals = [each for each in events_of(folder) if type(each).__name__ == "CodeRefused"]
    assert len(refusals) == 1


LATE = """
import pathlib, time, torch
from torch import nn
import batchscope

def loss(model, batch):
    inputs, expected = batch
    if not pathlib.Path("go").exists():
        time.sleep(0.05)
    return ((model(inputs)[:, 0] - expected) ** 2).sum(), len(expected)

def error(model, batch):
    import late
    return loss(model, batch)

def make(seed):
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    data = (inputs, inputs.sum(1))
    return batchscope.Task(
        model=nn.Linear(3, 1), train=data, test=data, loss=loss, metrics={"error": error}
    )
"""


def test_a_module_that_was_imported_late_is_known_after_a_kill(lab: Lab) -> None:
    """The trial is killed after an epoch, whose metric has imported a module."""
    OwnCode(lab.cwd, lab.root / "imported.log")
    (lab.cwd / "late.py").write_text("x = 1\n")
    (lab.cwd / "mine.py").write_text(LATE)
    words = ("--preset", "mine.toml", "--set", "seeds=1", "--set", "train.epochs=2000")
    process = lab.start(*words, "--export", "out", "--trust", ".", "--workers", "1")
    folder = lab.only_folder()
    until(lambda: any(type(each) is EpochsFinished for each in events_of(folder)), "an epoch")
    started = state_of(folder).conductor
    assert started is not None
    os.kill(started.pid, signal.SIGKILL)
    process.communicate(timeout=120.0)

    (lab.cwd / "late.py").write_text("x = 2\n")
    (lab.cwd / "go").touch()
    refused = lab.run("resume", folder.name)
    assert refused.code == 2
    assert "late.py" in refused.err

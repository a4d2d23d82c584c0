"""A real sweep of a task: who imports its code, and what happens when that changes."""

import csv

import pytest

from tests.functional.lab import Lab, events_of, state_of
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
    refused = lab.run("resume", folder.name)
    assert refused.code == 2
    end = ended_as(folder)
    assert "mine.py" in end["reason"]
    assert "--accept-code" in end["reason"]
    assert all(trial.attempt == 1 for trial in state_of(folder).trials.values())

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
    state = state_of(folder)
    assert state.count("failed") == 0
    assert state.count("finished") == 2
    refusals = [each for each in events_of(folder) if type(each).__name__ == "CodeRefused"]
    assert len(refusals) == 1

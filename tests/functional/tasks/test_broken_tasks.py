"""Broken tasks in real processes: the trial fails with the place in their code, others go on."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.sweeps.launcher import module_command
from tests.broken.loaded_kinds import copied, line_of
from tests.functional.lab import Lab, Outcome, until
from tests.functional.sweep_fixtures import table

PRESET = """
title = "Broken tasks"
seeds = 1
[task]
use = "kinds:make"
[memory]
micro_batch_size = 5
[train]
lr = 0.01
batch_size = 5
epochs = 2
[grid]
"""
IMPORT_FAILS = "import torch\n\nraise ValueError('no configuration')\n\ndef make(seed, kind): ...\n"
DELETES_ITSELF = """
import pathlib
import kinds

def make(seed, kind):
    pathlib.Path(__file__).unlink()
    return kinds.make(seed, "plain")
"""


@pytest.fixture
def folder(lab: Lab) -> Path:
    """A folder with the module of all kinds, in which nothing but the kind is wrong."""
    found = copied(lab.root / "theirs")
    for name in ("one", "other"):
        (found / name).mkdir()
        (found / name / "helper.py").write_text(f"KIND = {name!r}\n")
    (found / "at_import.py").write_text(IMPORT_FAILS)
    (found / "deleting.py").write_text(DELETES_ITSELF)
    return found


def swept(lab: Lab, folder: Path, grid: str, *words: str) -> tuple[Outcome, list[dict[str, str]]]:
    """Run a sweep over a line of `[grid]`; return how it ended, and its trials."""
    (folder / "broken.toml").write_text(PRESET + grid)
    export = lab.root / "export"
    given = ("--preset", str(folder / "broken.toml"), "--trust", str(folder))
    here = ("--device", "cpu", "--workers", "2")  # no time to try other numbers of them
    outcome = lab.run(*given, "--export", str(export), *here, *words)
    assert "Traceback" not in outcome.out + outcome.err
    return outcome, table(export, "trials.csv")


def by_kind(rows: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """The status and the reason of each trial, by its kind."""
    return {row["trial"].split("kind-")[1][:-3]: (row["status"], row["reason"]) for row in rows}


BREAKS = {
    "raises": "KeyError: 'the configuration'",
    "sys-exit": "called sys.exit: no more money",
    "step-7": "ValueError: no label 7",
    "damaged-sample": "OSError: sample 33 is damaged",
}


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("breaks", "works"),
    [
        (("raises", "sys-exit"), ("plain", "forks")),
        (("step-7",), ("plain", "prints", "threads")),
        (("damaged-sample",), ("plain", "one", "other")),
    ],
)
def test_a_broken_trial_fails_and_the_sweep_goes_on(
    lab: Lab, folder: Path, breaks: tuple[str, ...], works: tuple[str, ...]
) -> None:
    kinds = json.dumps([*breaks, *works])
    outcome, rows = swept(lab, folder, f'"task.kind" = {kinds}', "--workers", "2")
    assert outcome.code == 1
    found = by_kind(rows)
    assert {kind: status for kind, (status, _) in found.items()} == {
        **dict.fromkeys(breaks, "failed"),
        **dict.fromkeys(works, "finished"),
    }
    for kind in breaks:
        told = f"{line_of(kind)}: {BREAKS[kind]}"
        assert found[kind][1] == told
        assert f"failed: {told}" in outcome.err
    losses = {row["test_loss"] for row in rows if row["status"] == "finished"}
    assert len(losses) == 1, "what is printed, forked or left behind changes nothing"


@pytest.mark.campaign
def test_modules_that_fail_at_import_or_delete_themselves(lab: Lab, folder: Path) -> None:
    grid = '"task.use" = ["kinds:make", "at_import:make", "deleting:make"]\n"task.kind" = ["plain"]'
    outcome, rows = swept(lab, folder, grid, "--workers", "1")
    assert outcome.code == 1
    reasons = sorted((row["status"], row["reason"]) for row in rows)
    assert [status for status, _ in reasons] == ["failed", "failed", "finished"]
    assert reasons[0][1] == "at_import.py, line 3: ValueError: no configuration"
    assert "there is no" in reasons[1][1]
    assert "deleting.py" in reasons[1][1]


@pytest.mark.campaign
def test_data_larger_than_the_limit(lab: Lab, folder: Path) -> None:
    preset = '"task.kind" = ["huge", "plain"]'
    outcome, rows = swept(lab, folder, preset, "--workers", "1", "--memory-limit", "1GiB")
    assert outcome.code == 1
    found = by_kind(rows)
    assert found["plain"][0] == "finished"
    assert found["huge"][0] == "failed"
    told = "Task(train=…): the data take 10.0 GiB, more than the memory limit of 1.00 GiB"
    assert told in found["huge"][1]
    assert "kinds.py, line " in found["huge"][1]


def still(journal: Path) -> bool:
    """Whether the journal says that a task is waited for."""
    return journal.exists() and b"still running the task" in journal.read_bytes()


@pytest.mark.campaign
def test_a_task_that_sleeps_can_be_stopped(lab: Lab, folder: Path) -> None:
    (folder / "broken.toml").write_text(PRESET + '"task.kind" = ["sleeps-for-ever"]')
    given = ("--preset", str(folder / "broken.toml"), "--trust", str(folder))
    process = lab.start(*given, "--export", str(lab.root / "export"), "--device", "cpu")
    journal = lab.only_folder() / "journal.jsonl"
    until(lambda: still(journal), "it says what it waits for")
    assert lab.run("stop", lab.only_folder().name).code == 0
    _, errors = process.communicate(timeout=150.0)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def checked(folder: Path, kind: str, patience: float = 120.0) -> tuple[int, list[dict[str, str]]]:
    """Run the process of `batchscope check`; return its exit code and its rows."""
    task = json.dumps({"use": "kinds:make", "arguments": [["kind", kind]]})
    command = module_command("batchscope.engine.training.tasks.task_check")
    found = subprocess.run(
        [*command, str(folder), task, "8", str(patience)],
        capture_output=True,
        encoding="utf-8",
        timeout=150.0,
    )
    assert "Traceback" not in found.stderr
    return found.returncode, [json.loads(line) for line in found.stdout.splitlines()]


@pytest.mark.slow
def test_a_check_that_hangs_says_where(folder: Path) -> None:
    code, rows = checked(folder, "sleeps-for-ever", 20.0)
    assert code == 2
    assert rows[-1]["text"].startswith(f"{line_of('sleeps-for-ever')}: nothing has happened")


def inspected(folder: Path, kind: str) -> tuple[int, dict[str, Any]]:
    """Run the process that runs a task before a sweep; return its exit code and its answer."""
    task = json.dumps({"use": "kinds:make", "arguments": [["kind", kind]]})
    found = subprocess.run(
        [*module_command("batchscope.engine.training.jobs.task_inspection"), str(folder), task],
        stdout=subprocess.PIPE,
        timeout=150.0,
    )
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return found.returncode, answer


@pytest.mark.slow
def test_a_module_with_a_name_of_python_is_not_taken_for_it(folder: Path) -> None:
    """`secrets.py`, in which many keep their passwords, is a module that numpy imports."""
    (folder / "secrets.py").write_text("raise ValueError('nobody imports it')\n")
    code, answer = inspected(folder, "plain")
    assert code == 0, answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "what"),
    [("keyboard", "KeyboardInterrupt"), ("no-length", "OSError: the index is damaged")],
)
def test_what_runs_a_task_before_the_sweep_says_why_it_cannot(
    folder: Path, kind: str, what: str
) -> None:
    code, answer = inspected(folder, kind)
    assert (code, answer["error"]) == (2, f"{line_of(kind)}: {what}")


@pytest.mark.slow
def test_a_fork_answers_once(folder: Path) -> None:
    code, rows = checked(folder, "forks")
    assert code == 0, rows
    assert len({row["name"] for row in rows}) == len(rows)


@pytest.mark.slow
def test_check_tells_of_a_process_that_has_ended(lab: Lab, folder: Path) -> None:
    words = ("check", "kinds:make", "--path", str(folder), "--set", 'kind="exits-in-c"')
    outcome = lab.run(*words)
    assert (outcome.code, outcome.err) == (2, "")
    assert "its process ended with exit code 7, before the first check" in outcome.out


@pytest.mark.slow
def test_a_check_names_the_line_that_leaves_the_process(folder: Path) -> None:
    code, rows = checked(folder, "os-exit")
    assert code == 2
    assert [row["text"] for row in rows] == [f"{line_of('os-exit')}: called os._exit(7)"]


EVERY_KIND = (
    *("raises", "interrupts", "not-a-task", "ddp", "compiled", "cuda", "huge", "module-list"),
    *("step-7", "mean", "nan", "wrong-device", "device-of-sum", "generator-loss", "sys-exit"),
    *("threads", "sleeps", "half", "zero-grad", "replaced-weights", "other-model", "tied"),
    *("buffers", "complex", "sparse", "checkpointing", "no-copy", "empty", "generator"),
    *("metric-f1", "lbfgs", "scheduler", "deletes-itself", "prints-loudly", "double-backward"),
)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_check_answers_in_rows(folder: Path, kind: str) -> None:
    code, rows = checked(folder, kind)
    assert code == (2 if any(row["verdict"] == "wrong" for row in rows) else 0)
    assert rows
    for row in rows:
        assert row["text"].isprintable()
        if row["verdict"] == "wrong":
            assert "kinds.py, line " in row["text"]

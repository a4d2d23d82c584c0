"""Whole sweeps through the command: real conductors and workers on the digits and on MNIST."""

import csv
import io
import json
import os
import shutil
import signal
import tomllib
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from engine import __version__, journal
from engine import events as ev
from engine.catalog import SWEEP, conductor_lives
from engine.devices import cores
from engine.state import SweepState
from engine.training.noise import every
from tests.functional.running import (
    CONTRACT,
    SHARED_DATA,
    Lab,
    a_lab,
    conductor_of,
    copy_of_recorded,
    ended,
    events_of,
    needs_mnist,
    recorded,
    sets,
    state_of,
    until,
)

TIMES = ("epoch_seconds", "samples_per_second", "warm_up_seconds")
TRIALS = ["b64-s0", "b512-s0", "b64-s1", "b512-s1"]
ONE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[512]")
"""One short trial."""
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
SOME_SECONDS = FOREVER.replace("epochs = 100000000", "seconds = 4")
THREE = ("--workers", "3")
"""The long trials come first: a worker is left for the short ones."""


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / name).read_text("utf-8"), newline="")))


def raw_events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Events of one kind as plain JSON, without any of our types."""
    lines = (folder / journal.NAME).read_text("utf-8").splitlines()
    return [event for line in lines if (event := json.loads(line))["kind"] == kind]


def raw_records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The journal's epochs by trial and number."""
    return {
        (event["trial"], record["epoch"]): record
        for event in raw_events(folder, "epochs")
        for record in event["records"]
    }


def preset_file(lab: Lab, content: str) -> str:
    path = lab.root / "mine.toml"
    path.write_text(content)
    return str(path)


def statuses(folder: Path) -> dict[str, str]:
    return {trial.id: trial.status for trial in state_of(folder).trials.values()}


def under_way(folder: Path) -> bool:
    """Whether two trials have finished and the others train."""
    if not (folder / journal.NAME).exists():
        return False
    found = list(
        SweepState().fold(journal.Reader(folder / journal.NAME).read_all()).trials.values()
    )
    return [trial.status for trial in found] == ["finished", "finished", "running", "running"]


def starts(folder: Path) -> dict[str, int]:
    """How often each trial was begun."""
    found = [event.trial for event in events_of(folder) if isinstance(event, ev.TrialStarted)]
    return {trial: found.count(trial) for trial in found}


# ---- the export of a finished run


def test_the_files_are_complete() -> None:
    export = recorded().export
    assert {path.name for path in export.iterdir()} == {
        "trials.csv",
        "epochs.csv",
        "gradient_norms.csv",
        "memory.csv",
        "bias_variance.csv",
        "sweep.toml",
        "manifest.json",
        "findings.json",
        "journal.jsonl",
    }
    assert len(table(export, "trials.csv")) == 4
    assert len(table(export, "epochs.csv")) == 8
    assert not (export.stat().st_mode & 0o077) ^ 0o055


@pytest.mark.parametrize("name", CONTRACT)
def test_the_columns_begin_with_those_of_the_contract(name: str) -> None:
    header = (recorded().export / name).read_text("utf-8").splitlines()[0]
    assert header == CONTRACT[name] or header.startswith(CONTRACT[name] + ",")


def test_the_trials_table_says_what_ran() -> None:
    rows = table(recorded().export, "trials.csv")
    assert [row["trial"] for row in rows] == ["b64-s0", "b64-s1", "b512-s0", "b512-s1"]
    for row in rows:
        size, _, seed = row["trial"].removeprefix("b").partition("-s")
        expected = {
            "status": "finished",
            "batch_size": size,
            "micro_batch_size": "40",
            "accumulation_steps": {"64": "2", "512": "13"}[size],
            "seed": seed,
            "dataset": "digits",
            "model": "mlp",
            "optimizer": "sgd",
            "lr": "0.1",
            "scaling_rule": "none",
            "epochs": "2",
            "steps": str(2 * -(-1437 // int(size))),
            "samples": str(2 * 1437),
            "noise_draws": str(-(-2 * -(-1437 // int(size)) // every(int(size)))),
        }
        assert {key: row[key] for key in expected} == expected
        data = (1437 + 360) * (64 * 4 + 8)
        assert data < int(row["peak_memory_bytes"]) < 3 * data


def test_the_epochs_table_holds_the_figures_of_the_journal() -> None:
    export = recorded().export
    records = raw_records(export)
    rows = table(export, "epochs.csv")
    assert {(row["trial"], int(row["epoch"])) for row in rows} == set(records)
    same = {
        "steps": "steps",
        "samples": "samples",
        "lr": "lr",
        "train_loss": "train_loss",
        "train_accuracy": "train_accuracy",
        "test_loss": "test_loss",
        "test_accuracy": "test_accuracy",
        "epoch_seconds": "seconds",
        "weight_norm": "weight_norm",
        "distance_from_init": "distance_from_init",
    }
    for row in rows:
        record = records[row["trial"], int(row["epoch"])]
        assert {key: float(row[key]) for key in same} == {k: record[v] for k, v in same.items()}
        gap = record["train_accuracy"] - record["test_accuracy"]
        assert float(row["generalization_gap"]) == gap
        rate = record["epoch_samples"] / record["seconds"]
        assert float(row["samples_per_second"]) == rate
        norms = [(count, mean) for _, count, mean, *_ in record["norms"]]
        steps = sum(count for count, _ in norms)
        mean = sum(count * mean for count, mean in norms) / steps
        assert float(row["grad_norm_mean"]) == pytest.approx(mean, rel=1e-12)
        cv = float(row["grad_norm_std"]) / float(row["grad_norm_mean"])
        assert float(row["grad_norm_cv"]) == pytest.approx(cv, rel=1e-12)


def test_the_trials_table_holds_the_last_figures_of_the_journal() -> None:
    export = recorded().export
    records = raw_records(export)
    norms = {event["trial"]: event["init_norm"] for event in raw_events(export, "started")}
    for row in table(export, "trials.csv"):
        first, last = records[row["trial"], 1], records[row["trial"], 2]
        for key in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert float(row[key]) == last[key]
        assert float(row["distance_from_init"]) == last["distance_from_init"]
        best = max(first["test_accuracy"], last["test_accuracy"])
        assert float(row["best_test_accuracy"]) == best
        assert float(row["epoch_seconds"]) == last["seconds"]
        assert float(row["init_norm"]) == norms[row["trial"]]


def test_the_histograms_hold_every_step_once() -> None:
    export = recorded().export
    counted: dict[tuple[str, int], int] = {}
    for row in table(export, "gradient_norms.csv"):
        assert float(row["bin_left"]) < float(row["bin_right"])
        key = row["trial"], int(row["epoch"])
        counted[key] = counted.get(key, 0) + int(row["count"])
    expected = {key: -(-1437 // int(key[0][1:-3])) for key in raw_records(export)}
    assert counted == expected


def test_the_exported_journal_is_the_one_of_the_sweep() -> None:
    stored = (recorded().folder / journal.NAME).read_bytes()
    assert (recorded().export / journal.NAME).read_bytes() == stored
    last = json.loads(stored.splitlines()[-1])
    assert (last["kind"], last["state"]) == ("sweep_ended", "finished")


def test_the_exported_preset_holds_what_was_set_and_a_plan_for_every_trial() -> None:
    raw = tomllib.loads((recorded().export / SWEEP).read_text("utf-8"))
    assert raw["seeds"] == 2
    assert raw["train"]["epochs"] == 2
    assert raw["grid"] == {"batch_size": [64, 512]}
    assert sorted(plan["members"] for plan in raw["plan"]) == sorted([name] for name in TRIALS)
    for plan in raw["plan"]:
        size = int(plan["group"].removeprefix("b").partition("-")[0])
        assert (plan["batch_size"], plan["micro_batch_size"]) == (size, 40)
        assert plan["accumulation_steps"] == -(-size // 40)
        assert plan["threads"] == max(1, cores() // 2)


def test_the_manifest() -> None:
    found = json.loads((recorded().export / "manifest.json").read_text("utf-8"))
    started = raw_events(recorded().export, "sweep")[0]["at"]
    expected = {
        "program": "batchscope",
        "sweep": recorded().folder.name,
        "preset": "quickstart",
        "title": "Batch size in half a minute",
        "state": "finished",
        "exit_code": 0,
        "trials": 4,
        "finished": 4,
        "failed": 0,
        "seeds": [0, 1],
        "damaged_journal_lines": 0,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["versions"]["batchscope"] == __version__
    assert set(found["versions"]) >= {"batchscope", "torch", "python"}
    digits = found["data"]["digits"]
    assert (digits["train"], digits["test"]) == (1437, 360)
    assert len(digits["digest"]) == 64
    assert found["machine"]["cores"] == cores()
    assert started > 0
    assert found["started"] < found["ended"]


def test_no_file_holds_a_figure_that_is_not_a_number() -> None:
    for path in recorded().export.iterdir():
        text = path.read_text("utf-8")
        assert "NaN" not in text
        assert "nan," not in text


# ---- what is said of it


def test_the_summary_is_one_json_object() -> None:
    run = recorded()
    assert run.outcome.out.count("\n") == 1
    found = json.loads(run.outcome.out)
    rows = table(run.export, "trials.csv")
    expected = {
        "id": run.folder.name,
        "preset": "quickstart",
        "title": "Batch size in half a minute",
        "state": "finished",
        "reason": None,
        "trials": 4,
        "finished": 4,
        "failed": 0,
        "export": str(run.export),
    }
    assert {key: found[key] for key in expected} == expected
    assert [c["batch_size"] for c in found["configurations"]] == [64, 512]
    for configuration in found["configurations"]:
        own = [row for row in rows if row["batch_size"] == str(configuration["batch_size"])]
        accuracies = [float(row["test_accuracy"]) for row in own]
        mean = sum(accuracies) / 2
        assert configuration["test_accuracy_mean"] == pytest.approx(mean, rel=1e-14)
        spread = abs(accuracies[0] - accuracies[1]) / 2**0.5
        assert configuration["test_accuracy_std"] == pytest.approx(spread, rel=1e-9, abs=1e-15)
        times = [float(row["epoch_seconds"]) for row in own]
        assert configuration["epoch_seconds"] == pytest.approx(median(times), rel=1e-14)
        assert (configuration["trials"], configuration["finished"]) == (2, 2)


def test_the_log_is_json_line_by_line() -> None:
    lines = recorded().outcome.err.splitlines()
    entries = [json.loads(line) for line in lines]
    assert all(set(entry) >= {"time", "level", "message"} for entry in entries)
    assert {entry["level"] for entry in entries} == {"info"}
    said = "\n".join(entry["message"] for entry in entries)
    assert f"sweep {recorded().folder.name}; `batchscope attach" in said
    assert "digits: 1,437 training and 360 test images" in said
    for trial in TRIALS:
        assert f"{trial}: started on cpu" in said
        assert f"{trial}: finished, test accuracy 0." in said
    told = sorted((entry["trial"], entry["epoch"]) for entry in entries if "epoch" in entry)
    assert told == sorted((trial, epoch) for trial in TRIALS for epoch in (1, 2))
    assert entries[-1]["message"] == "sweep finished, 4 of 4 trials finished"


def test_list_as_json_and_as_text() -> None:
    run = recorded()
    (found,) = run.lab.listed()
    expected = {
        "id": run.folder.name,
        "preset": "quickstart",
        "state": "finished",
        "trials": 4,
        "finished": 4,
        "title": "Batch size in half a minute",
    }
    assert {key: found[key] for key in expected} == expected
    outcome = run.lab.run("list")
    assert (outcome.code, outcome.err) == (0, "")
    (line,) = outcome.out.splitlines()
    assert line.split() == [
        run.folder.name,
        "finished",
        "4/4",
        "trials",
        *["Batch", "size", "in", "half", "a", "minute"],
    ]


def test_list_of_nothing(lab: Lab) -> None:
    assert lab.listed() == []
    outcome = lab.run("list")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no sweep is stored yet\n")


def test_presets_are_listed(lab: Lab) -> None:
    outcome = lab.run("presets")
    assert (outcome.code, outcome.err) == (0, "")
    lines = {line.split()[0]: line for line in outcome.out.splitlines()}
    assert set(lines) >= {"quickstart", "mnist-epochs"}
    assert "21 trials  Batch size in half a minute" in lines["quickstart"]
    assert "24 trials  Accuracy over twenty epochs" in lines["mnist-epochs"]


def test_resuming_a_finished_sweep_says_so_and_runs_nothing() -> None:
    run = recorded()
    before = (run.folder / journal.NAME).read_bytes()
    outcome = run.lab.run("resume", run.folder.name)
    assert outcome.code == 0
    assert outcome.out == ""
    assert outcome.err == f"{run.folder.name}: is finished; nothing is left to resume\n"
    assert (run.folder / journal.NAME).read_bytes() == before


def test_stopping_a_finished_sweep_says_so() -> None:
    run = recorded()
    for words, said in (
        (["stop", run.folder.name], f"{run.folder.name}: is not running\n"),
        (["stop", "--all"], "no sweep is running\n"),
    ):
        outcome = run.lab.run(*words)
        assert (outcome.code, outcome.out, outcome.err) == (0, said, "")


def test_attaching_to_a_finished_sweep_without_a_terminal_tells_how_it_went() -> None:
    run = recorded()
    outcome = run.lab.run("attach")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.endswith(" sweep finished, 4 of 4 trials finished\n")


# ---- the same bits


def figures(export: Path) -> dict[str, Any]:
    """All that must be the same when a sweep is run again."""
    found: dict[str, Any] = {}
    for name in CONTRACT:
        rows = table(export, name)
        found[name] = [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
    plans = tomllib.loads((export / SWEEP).read_text("utf-8"))["plan"]
    found["plans"] = sorted(plans, key=lambda plan: str(plan["group"]))
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_exported_preset_run_again_gives_the_same_bits(lab: Lab, workers: str) -> None:
    """Over another sweep's export, which it may replace."""
    again = lab.root / "again"
    shutil.copytree(recorded().export, again)
    words = ["--export", str(again), "--overwrite", "--workers", workers]
    outcome = lab.run(*words, "--preset", str(recorded().export / SWEEP))
    assert outcome.code == 0, outcome.err
    manifest = json.loads((again / "manifest.json").read_text("utf-8"))
    assert manifest["sweep"] == lab.only_folder().name != recorded().folder.name
    assert figures(again) == figures(recorded().export)
    assert lab.listed()[0]["preset"] == "quickstart"


# ---- stopping, interrupting, killing


def test_a_sweep_that_was_stopped_is_resumed_and_nothing_finished_runs_twice(lab: Lab) -> None:
    words = ["--export", str(lab.root / "out"), "--preset", preset_file(lab, SOME_SECONDS)]
    follower = lab.start(*words, *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    stop = lab.run("stop", folder.name)
    said = f"{folder.name}: stopped; `batchscope resume {folder.name}` goes on with it\n"
    assert (stop.code, stop.out, stop.err) == (0, said, "")
    assert not conductor_lives(folder)
    first = ended(follower)
    assert first.code == 130
    assert first.out == ""
    assert f"`batchscope resume {folder.name}` goes on with it" in first.err
    assert not (lab.root / "out").exists()
    assert list(statuses(folder).values()) == ["finished", "finished", "stopped", "stopped"]
    (listed,) = lab.listed()
    assert (listed["state"], listed["trials"], listed["finished"]) == ("stopped", 4, 2)

    outcome = lab.run("resume", folder.name)
    assert outcome.code == 0, outcome.err
    assert "4 of 4 trials finished" in outcome.out
    assert list(statuses(folder).values()) == ["finished"] * 4
    assert sorted(starts(folder).values()) == [1, 1, 2, 2]
    finished = [event for event in events_of(folder) if isinstance(event, ev.TrialEnded)]
    assert sum(event.status == "finished" for event in finished) == 4
    kinds = [type(event) for event in events_of(folder)]
    assert kinds.count(ev.Planned) == 4, "the first plans are used again"
    assert lab.listed()[0]["state"] == "finished"


def test_ctrl_c_stops_a_headless_run_and_resume_ends_it(lab: Lab) -> None:
    preset = preset_file(lab, SOME_SECONDS)
    follower = lab.start("--preset", preset, "--export", str(lab.root / "out"), "--json", *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    os.killpg(follower.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    outcome = ended(follower)
    assert outcome.code == 130
    assert outcome.out == ""
    assert "interrupted: stopping the sweep" in outcome.err
    assert "Traceback" not in outcome.err
    assert not conductor_lives(folder)
    assert lab.listed()[0]["state"] == "stopped"

    resumed = lab.run("resume", folder.name)
    assert resumed.code == 0, resumed.err
    assert list(statuses(folder).values()) == ["finished"] * 4

    export = lab.run("--export", str(lab.root / "out"), "--sweep", folder.name)
    assert export.code == 0
    rows = table(lab.root / "out", "trials.csv")
    assert sorted(row["attempt"] for row in rows) == ["1", "1", "2", "2"]


def test_a_killed_follower_or_conductor_costs_what_finished_nothing(lab: Lab) -> None:
    """First the follower is killed and the sweep goes on, then the conductor, then all resumes."""
    words = ["--preset", preset_file(lab, FOREVER), "--export", str(lab.root / "out")]
    follower = lab.start(*words, *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    os.killpg(follower.pid, signal.SIGKILL)
    assert ended(follower).code == -signal.SIGKILL
    (listed,) = lab.listed()
    assert (listed["state"], listed["trials"], listed["finished"]) == ("running", 4, 2)
    assert conductor_lives(folder)
    workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    for pid in (conductor_of(folder), *workers):
        os.kill(pid, 0)

    partial = lab.root / "partial"
    running = lab.run("--export", str(partial), "--sweep", folder.name, "--json")
    assert json.loads(running.out)["state"] == "running"
    assert [row["status"] for row in table(partial, "trials.csv")] == [
        "finished",
        "finished",
        "running",
        "running",
    ]

    second = lab.start("resume", folder.name)
    until(lambda: second.poll() is not None or _is_following(second.pid), "resume follows")
    os.kill(second.pid, signal.SIGINT)
    outcome = ended(second)
    assert outcome.code == 130
    assert f"the sweep goes on: `batchscope attach {folder.name}` returns to it" in outcome.err
    assert conductor_lives(folder)
    assert len([e for e in events_of(folder) if isinstance(e, ev.ConductorStarted)]) == 1

    os.kill(conductor_of(folder), signal.SIGKILL)
    until(lambda: not conductor_lives(folder), "the workers are gone with their conductor")
    assert lab.listed()[0]["state"] == "interrupted"

    third = lab.start("resume", folder.name)
    until(lambda: sorted(starts(folder).values()) == [1, 1, 2, 2], "the unfinished are begun again")
    until(lambda: under_way(folder), "the unfinished run again")
    assert lab.run("stop", "--all").code == 0
    assert ended(third).code == 130
    assert sorted(starts(folder).values()) == [1, 1, 2, 2]


def _is_following(pid: int) -> bool:
    """Whether the process has taken SIGINT into its own hands."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if "SigCgt" in line).split()[1], 16)
    handles_term = caught >> (signal.SIGTERM - 1) & 1
    return bool(handles_term)


def test_a_trial_that_kills_every_worker_fails_and_the_others_finish(lab: Lab) -> None:
    """Every worker that takes the trial is killed before its first checkpoint."""
    one_forever = FOREVER.rpartition("[[cells]]")[0]
    queue = one_forever + "".join(f"[[cells]]\nlr = 0.{digit}\n" for digit in (5, 6))
    out = lab.root / "out"
    words = ["--export", str(out), "--preset", preset_file(lab, queue), "--workers", "1"]
    follower = lab.start(*words)
    folder = lab.only_folder()
    third = "b512-lr0.3-epochs-100000000-s0"

    def begun(times: int) -> bool:
        return (folder / journal.NAME).exists() and starts(folder).get(third) == times

    for times in range(1, 5):
        until(lambda times=times: begun(times), "the long trial runs")  # type: ignore[misc]
        workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
        os.kill(workers[-1], signal.SIGKILL)
    outcome = ended(follower)
    assert outcome.code == 1, outcome.err
    found = statuses(folder)
    assert found.pop(third) == "failed"
    assert list(found.values()) == ["finished"] * 4
    assert "4 of 5 trials finished" in outcome.out
    rows = {row["trial"]: row for row in table(out, "trials.csv")}
    assert rows[third]["status"] == "failed"
    assert "killed by signal 9 (after 3 retries)" in rows[third]["reason"]
    assert rows[third]["attempt"] == "4"
    assert json.loads((out / "manifest.json").read_text())["exit_code"] == 1
    pids = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    assert len(set(pids)) == 5, "another worker took each dead one's place"
    assert lab.listed()[0]["state"] == "failed"


def test_a_torn_journal_is_resumed_however_long_the_torn_line(tmp_path: Path) -> None:
    with a_lab(tmp_path) as lab:
        copy_of_recorded(tmp_path)
        folder = lab.only_folder()
        path = folder / journal.NAME
        lines = path.read_bytes().splitlines(keepends=True)
        last = max(n for n, line in enumerate(lines) if b'"kind":"ended"' in line)
        path.write_bytes(b"".join(lines[:last]) + lines[last][:20] + b" " * 100_000)
        assert lab.listed()[0]["state"] == "interrupted"
        outcome = lab.run("resume", folder.name)
        assert outcome.code == 0, outcome.err
        assert list(statuses(folder).values()) == ["finished"] * 4
        assert sorted(starts(folder).values()) == [1, 1, 1, 2]


# ---- batch sizes beyond the data


def test_a_batch_larger_than_the_data_is_the_full_batch_and_that_is_said(lab: Lab) -> None:
    out = lab.root / "out"
    more = sets("seeds=1", "train.epochs=2", "grid.batch_size=[2000, 3000]")
    whole = sets("memory.micro_batch_size=2000")  # else a smaller piece may be found to be faster
    outcome = lab.run("--export", str(out), *more, *whole)
    assert outcome.code == 0, outcome.err
    assert "warning: 2,000 exceeds the 1,437 training images: the full batch" in outcome.err
    full, twin = table(out, "trials.csv")
    expected = {
        "trial": "b2000-s0",
        "status": "finished",
        "batch_size": "1437",
        "micro_batch_size": "1437",
        "accumulation_steps": "1",
        "epochs": "2",
        "steps": "2",
        "samples": "2874",
    }
    assert {key: full[key] for key in expected} == expected
    assert (twin["trial"], twin["status"]) == ("b3000-s0", "skipped")
    assert twin["reason"] == "with 1,437 training images it is the same as b2000-s0"


# ---- where it is started


def test_without_a_terminal_quickstart_runs_headless_and_says_so(lab: Lab) -> None:
    """In a folder with an `engine` and a `tui` of its own, which none of our processes import."""
    for name in ("engine", "tui", "torch", "msgspec"):
        (lab.cwd / name).mkdir()
        trap = f"raise SystemExit('{name} was imported from the current folder')"
        (lab.cwd / name / "__init__.py").write_text(trap)
    outcome = lab.run(*ONE)
    assert outcome.code == 0, outcome.err
    assert "no terminal: running quickstart headless" in outcome.err.splitlines()[0]
    assert "1 of 1 trials finished" in outcome.out
    folder = lab.only_folder()
    export = folder / "export"
    assert outcome.out.endswith(f"exported to {export}\n")
    assert [row["status"] for row in table(export, "trials.csv")] == ["finished"]
    for log in folder.glob("*.log"):
        assert "was imported" not in log.read_text()
    assert sorted(path.name for path in lab.cwd.iterdir()) == ["engine", "msgspec", "torch", "tui"]


def test_what_is_stored_is_for_its_owner_alone() -> None:
    assert recorded().folder.stat().st_mode & 0o777 == 0o700
    assert recorded().lab.home.stat().st_mode & 0o777 == 0o700


# ---- real images


@needs_mnist
def test_mnist_epochs_learns_the_real_images(lab: Lab) -> None:
    """One epoch of 10,000 images: such a network is known to be right nine times in ten by then.

    The plan is given, with one thread, so that a busy machine doesn't slow it down.
    """
    plan = (
        'plan=[{group="b16-s0", members=["b16-s0"], batch_size=16, micro_batch_size=16, '
        "accumulation_steps=1, evaluation_batch_size=500, threads=1}]"
    )
    out = lab.root / "out"
    more = sets("seeds=1", "train.epochs=1", "grid.batch_size=[16]", plan)
    words = ["--export", str(out), "--preset", "mnist-epochs", "--data-dir", str(SHARED_DATA)]
    outcome = lab.run(*words, *more)
    assert outcome.code == 0, outcome.err
    assert "mnist: 10,000 training and 10,000 test images" in outcome.err
    (row,) = table(out, "trials.csv")
    assert (row["model"], row["dataset"], row["steps"]) == ("cnn", "mnist", "625")
    assert float(row["test_accuracy"]) > 0.9
    assert float(row["train_accuracy"]) > 0.9
    (written,) = tomllib.loads((out / SWEEP).read_text("utf-8"))["plan"]
    assert (written["threads"], written["evaluation_batch_size"]) == (1, 500)


# ---- nothing is left behind


def test_a_finished_sweep_leaves_no_process() -> None:
    folder = recorded().folder
    assert not conductor_lives(folder)
    workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    assert len(workers) == 2
    for pid in (conductor_of(folder), *workers):
        command = Path(f"/proc/{pid}/cmdline")
        assert not (command.exists() and str(folder) in command.read_text())

"""Whole sweeps through the command: real conductors and workers on the digits and on MNIST."""

import json
import shutil
import tomllib
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from batchscope import __version__
from batchscope.engine.devices.devices import cores
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.store import SWEEP
from batchscope.engine.training.instruments.noise_scale import every
from tests.functional.lab import CONTRACT, Lab, recorded
from tests.functional.sweep_fixtures import TRIALS, figures, raw_events, table
from tests.messages import says


def raw_records(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The journal's epochs by trial and number."""
    return {
        (event["trial"], record["epoch"]): record
        for event in raw_events(folder, "epochs")
        for record in event["records"]
    }


# ---- the export of a finished run


def test_the_files_are_complete() -> None:
    export = recorded().export
    assert {path.name for path in export.iterdir()} == {
        "trials.csv",
        "epochs.csv",
        "gradient_norms.csv",
        "layer_norms.csv",
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
def test_the_tables_begin_with_the_fixed_columns(name: str) -> None:
    header = (recorded().export / name).read_text("utf-8").splitlines()[0]
    assert header == CONTRACT[name] or header.startswith(CONTRACT[name] + ",")


def test_the_trials_table_has_the_settings() -> None:
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


def test_the_epochs_table_has_the_figures_of_the_journal() -> None:
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


def test_the_trials_table_has_the_last_figures_of_the_journal() -> None:
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


def test_the_histograms_count_every_step_once() -> None:
    export = recorded().export
    counted: dict[tuple[str, int], int] = {}
    for row in table(export, "gradient_norms.csv"):
        assert float(row["bin_left"]) < float(row["bin_right"])
        key = row["trial"], int(row["epoch"])
        counted[key] = counted.get(key, 0) + int(row["count"])
    expected = {key: -(-1437 // int(key[0][1:-3])) for key in raw_records(export)}
    assert counted == expected


def test_the_exported_journal_is_that_of_the_sweep() -> None:
    stored = (recorded().folder / journal.NAME).read_bytes()
    assert (recorded().export / journal.NAME).read_bytes() == stored
    last = json.loads(stored.splitlines()[-1])
    assert (last["kind"], last["state"]) == ("sweep_ended", "finished")


def test_the_exported_preset_has_the_assignments_and_all_plans() -> None:
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


def test_no_file_has_nan_or_infinity() -> None:
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
    name = recorded().folder.name
    assert f"sweep {name} created" in said
    assert f"`batchscope attach {name}`" in said
    assert "digits: 1,437 training and 360 test images" in said
    for trial in TRIALS:
        assert f"{trial}: started on cpu" in said
        assert f"{trial}: finished, test accuracy 0." in said
    told = sorted((entry["trial"], entry["epoch"]) for entry in entries if "epoch" in entry)
    assert told == sorted((trial, epoch) for trial in TRIALS for epoch in (1, 2))
    assert "4 of 4 trials finished" in entries[-1]["message"]


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
    assert line.split()[:10] == [
        run.folder.name,
        "finished",
        "4/4",
        "trials",
        *["Batch", "size", "in", "half", "a", "minute"],
    ]
    assert line.split()[10:12] == ["test", "accuracy"]


def test_list_without_sweeps(lab: Lab) -> None:
    assert lab.listed() == []
    outcome = lab.run("list")
    assert (outcome.code, outcome.out) == (0, "")
    assert says(outcome.err, f"no sweeps | {lab.home}")


def test_presets_are_listed(lab: Lab) -> None:
    outcome = lab.run("presets")
    assert (outcome.code, outcome.err) == (0, "")
    lines = {line.split()[0]: line for line in outcome.out.splitlines()}
    assert set(lines) >= {"quickstart", "mnist-epochs"}
    assert "35 trials  Batch size in half a minute" in lines["quickstart"]
    assert "40 trials  Accuracy over 20 epochs" in lines["mnist-epochs"]


def test_resuming_a_finished_sweep_runs_nothing() -> None:
    run = recorded()
    before = (run.folder / journal.NAME).read_bytes()
    outcome = run.lab.run("resume", run.folder.name)
    assert outcome.code == 0
    assert outcome.out == ""
    assert says(outcome.err, f"{run.folder.name}: | nothing to resume\n")
    assert (run.folder / journal.NAME).read_bytes() == before


def test_stopping_a_finished_sweep_says_so() -> None:
    run = recorded()
    for words, said in (
        (["stop", run.folder.name], f"{run.folder.name}: not running\n"),
        (["stop", "--all"], "no sweep is running\n"),
    ):
        outcome = run.lab.run(*words)
        assert (outcome.code, outcome.out, outcome.err) == (0, said, "")


def test_attaching_to_a_finished_sweep_without_a_terminal_prints_its_log() -> None:
    run = recorded()
    outcome = run.lab.run("attach")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.endswith(" sweep finished, 4 of 4 trials finished\n")


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

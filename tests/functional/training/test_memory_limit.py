"""A memory limit: the sweep stays below it, computes the same, and reports what was cut."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.micro_batch import usable
from batchscope.engine.sweeps.store import SWEEP
from tests.functional.lab import Lab, sets, state_of
from tests.functional.sweep_fixtures import figures, raw_events, table

SWEPT = sets("seeds=2", "train.epochs=3", "grid.batch_size=[64, 1024]", "run.stack=never")
"""quickstart with four short trials; digits have 1,437 + 360 images of 8 × 8."""
LIMIT = 3 << 20
DATA_BYTES = (1437 + 360) * (64 * 4 + 8) + 360 * 8
SHARE = (LIMIT - DATA_BYTES) // 2 + DATA_BYTES
"""What one of two workers may hold, who share the data."""


def swept(lab: Lab, export: str, *words: str, preset: str = "quickstart") -> Path:
    """The export of a sweep on two workers that finished."""
    folder = lab.root / export
    where = ["--export", str(folder), "--workers", "2", "--device", "cpu"]
    outcome = lab.run(*where, "--preset", preset, *words)
    assert outcome.code == 0, outcome.err
    return folder


def plans(export: Path) -> dict[str, dict[str, Any]]:
    """The plans of an exported preset by trial."""
    found = tomllib.loads((export / SWEEP).read_text("utf-8"))["plan"]
    return {plan["group"]: plan for plan in found}


def micro_batches(export: Path) -> dict[str, int]:
    return {trial: plan["micro_batch_size"] for trial, plan in plans(export).items()}


@pytest.mark.campaign
def test_a_memory_limit_does_not_change_the_results(lab: Lab) -> None:
    free = swept(lab, "free", *SWEPT, *sets("memory.micro_batch_size=1024"))
    bound = swept(lab, "bound", *SWEPT, "--memory-limit", "3MiB")
    rows, others = table(bound, "trials.csv"), table(free, "trials.csv")
    assert [row["status"] for row in rows] == ["finished"] * 4
    for row, other in zip(rows, others, strict=True):
        assert 0 < int(row["peak_memory_bytes"]) < SHARE
        assert row["batch_size"] == other["batch_size"]
        assert row["steps"] == other["steps"]
        assert float(row["test_loss"]) == pytest.approx(float(other["test_loss"]), abs=1e-3)
    assert max(int(other["peak_memory_bytes"]) for other in others) > SHARE
    check_the_plans(bound)
    check_the_table(bound)
    check_a_rerun(lab, bound)


def check_the_plans(bound: Path) -> None:
    measured = raw_events(bound, "measured")
    assert sorted(event["batch_size"] for event in measured) == [64, 1024]
    assert {(event["asked_bytes"], event["limit_bytes"]) for event in measured} == {(LIMIT, SHARE)}
    found = plans(bound)
    for size in (64, 1024):
        first, second = (dict(found[f"b{size}-s{seed}"]) for seed in (0, 1))
        for plan in (first, second):
            del plan["group"], plan["members"]
        assert first == second
    large = found["b1024-s0"]
    micro = large["micro_batch_size"]
    assert 1 <= micro < 1024
    assert large["accumulation_steps"] == -(-1024 // micro)
    assert large["reason"].startswith(f"1,024 = {1024 // micro} × {micro}")
    assert "faster than" in large["reason"] or shown_size(usable(SHARE)) in large["reason"]
    assert large["draw_micro_batch_size"] <= 256


def check_the_table(bound: Path) -> None:
    rows = table(bound, "memory.csv")
    chosen = [row for row in rows if row["chosen"] == "true"]
    assert sorted(int(row["batch_size"]) for row in chosen) == [64, 1024]
    for row in rows:
        assert int(row["limit_bytes"]) == SHARE
        assert (row["fits"] == "true") == (int(row["peak_memory_bytes"]) <= usable(SHARE))
    for row in chosen:
        plan = plans(bound)[row["trial"]]
        assert int(row["micro_batch_size"]) == plan["micro_batch_size"]
        assert row["reason"] == plan["reason"]
        assert row["fits"] == "true"


def check_a_rerun(lab: Lab, bound: Path) -> None:
    """The exported preset carries the plans: nothing is measured, and the bits are the same."""
    again = swept(lab, "again", preset=str(bound / SWEEP))
    assert raw_events(again, "measured") == []
    assert figures(again)["trials.csv"] == figures(bound)["trials.csv"]
    assert figures(again)["gradient_norms.csv"] == figures(bound)["gradient_norms.csv"]
    assert plans(again) == plans(bound)
    rows = table(again, "memory.csv")
    assert [(row["batch_size"], row["chosen"]) for row in rows] == [
        ("64", "true"),
        ("1024", "true"),
    ]


def test_a_limit_too_small_for_one_image_fails_every_trial(lab: Lab) -> None:
    export = lab.root / "export"
    words = ["--export", str(export), "--preset", "quickstart", *SWEPT, "--workers", "1"]
    outcome = lab.run(*words, "--memory-limit", "500KiB", "--device", "cpu")
    assert outcome.code == 1
    for row in table(export, "trials.csv"):
        assert row["status"] == "failed"
        assert row["reason"].startswith("not even one sample at a time fits")
        assert row["reason"].endswith(" 500 KiB")
    for event in raw_events(export, "measured"):
        sizes = [shape["micro_batch_size"] for shape in event["shapes"]]
        assert (min(sizes), event["limit_bytes"]) == (1, 500 << 10)
    assert {row["chosen"] for row in table(export, "memory.csv")} == {"false"}
    assert plans(export) == {}


ONE_LARGE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[1024]")


@pytest.mark.parametrize(
    ("preset", "option", "counts"),
    [("2MiB", None, 2 << 20), ("1GiB", "2MiB", 2 << 20), ("2MiB", "1GiB", 2 << 20)],
)
def test_the_smaller_of_option_and_preset_is_used(
    lab: Lab, preset: str, option: str | None, counts: int
) -> None:
    words = [*ONE_LARGE, *sets(f'memory.limit="{preset}"'), "--workers", "1"]
    export = swept(lab, "export", *words, *(["--memory-limit", option] if option else []))
    (event,) = raw_events(export, "measured")
    assert (event["asked_bytes"], event["limit_bytes"]) == (counts, counts)
    (row,) = table(export, "trials.csv")
    assert int(row["peak_memory_bytes"]) < counts
    assert int(row["micro_batch_size"]) < 1024


@pytest.mark.parametrize("size", ["0", "2G", "much", "-1MiB", "1e400GiB"])
def test_an_invalid_size_is_rejected(lab: Lab, size: str) -> None:
    outcome = lab.run("--preset", "quickstart", f"--memory-limit={size}")
    assert outcome.code == 2
    assert "--memory-limit" in outcome.message
    assert lab.folders() == []
    outcome = lab.run("--preset", "quickstart", *sets(f'memory.limit="{size}"'))
    assert outcome.code == 2
    assert outcome.message.startswith(f'--set memory.limit="{size}": expected ')
    assert lab.folders() == []


def test_resume_uses_the_measurements(lab: Lab) -> None:
    """A journal that ends before the last trial of the large batch size was planned."""
    export = swept(lab, "export", *SWEPT, "--memory-limit", "3MiB")
    folder = lab.only_folder()
    path = folder / "journal.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not about(line, "b1024-s1")))
    assert lab.run("resume", folder.name).code == 0
    assert len(raw_events(folder, "measured")) == 2
    state = state_of(folder)
    assert [trial.status for trial in state.trials.values()] == ["finished"] * 4
    resumed = {trial: plan.micro_batch_size for trial, plan in state.plans.items()}
    assert resumed == micro_batches(export)
    again = [r.test_loss for r in state.trials["b1024-s1"].records]
    rows = [row for row in table(export, "epochs.csv") if row["trial"] == "b1024-s1"]
    assert again == [float(row["test_loss"]) for row in rows]


def about(line: str, trial: str) -> bool:
    """Whether a line of a journal is about a trial, or says that the sweep ended."""
    event = json.loads(line)
    if event["kind"] == "plan":
        return bool(event["plan"]["group"] == trial)
    return event.get("trial") == trial or "state" in event


# ---- batch norm, and sizes that the preset names


def test_batch_norm_is_only_cut_for_memory_and_reports_it(lab: Lab) -> None:
    norm = sets("model.batch_norm=true")
    export = swept(lab, "export", *SWEPT, *norm, "--memory-limit", "3MiB")
    told = r"; batch norm sees \d+ samples at a time \(Ghost batch norm\), not the batch$"
    found = plans(export)
    for seed in (0, 1):
        assert found[f"b64-s{seed}"]["micro_batch_size"] == 64
        assert "batch norm" not in found[f"b64-s{seed}"]["reason"]
        assert re.search(told, found[f"b1024-s{seed}"]["reason"])
    micro = found["b1024-s0"]["micro_batch_size"]
    assert 2 <= micro < 1024
    assert not any(count % micro == 1 for count in (1024, 1437 - 1024))
    for row in table(export, "trials.csv"):
        expected = micro if row["batch_size"] == "1024" else 64
        assert int(row["batch_norm_size"]) == expected
    (note,) = [event for event in raw_events(export, "note") if "batch norm" in event["text"]]
    assert (note["trial"], note["level"]) == ("b1024-s0", "warning")
    chosen = [row for row in table(export, "memory.csv") if row["chosen"] == "true"]
    assert [bool(re.search(told, row["reason"])) for row in chosen] == [False, True]


def test_batch_norm_joins_a_single_image_to_the_last_batch(lab: Lab) -> None:
    """1,437 = 4 × 359 + 1: an epoch has four steps, the last of them on 360 images."""
    export = lab.root / "export"
    words = sets("seeds=2", "train.epochs=2", "grid.batch_size=[64, 359]", "model.batch_norm=true")
    outcome = lab.run("--export", str(export), "--preset", "quickstart", *words)
    assert outcome.code == 0
    rows = [row for row in table(export, "trials.csv") if row["batch_size"] == "359"]
    assert [(row["steps"], row["samples"]) for row in rows] == [("8", "2874")] * 2
    assert [(row["micro_batch_size"], row["batch_norm_size"]) for row in rows] == [
        ("360", "359")
    ] * 2
    plans = [event["plan"] for event in raw_events(export, "plan")]
    (reason,) = {plan["reason"] for plan in plans if plan["batch_size"] == 359}
    assert "last batch has 360 samples" in reason
    again = lab.run("--export", str(lab.root / "again"), "--preset", str(export / "sweep.toml"))
    assert again.code == 0
    figures = ("train_loss", "test_loss", "distance_from_init")
    assert [[row[key] for key in figures] for row in table(lab.root / "again", "trials.csv")] == [
        [row[key] for key in figures] for row in table(export, "trials.csv")
    ]


def test_micro_batches_must_leave_no_image_of_a_joined_batch(lab: Lab) -> None:
    export = lab.root / "export"
    words = sets("seeds=1", "train.epochs=1", "grid.batch_size=[359]", "model.batch_norm=true")
    words += sets("memory.micro_batch_size=359")
    outcome = lab.run("--export", str(export), "--preset", "quickstart", *words)
    assert outcome.code == 1
    (refused,) = table(export, "trials.csv")
    assert "micro-batches of 359 leave one of 360 samples alone" in refused["reason"]
    assert "such as 357" in refused["reason"]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["grid.batch_size=[1, 64]"], "train.batch_size"),
        (["memory.micro_batch_size=1"], "--set memory.micro_batch_size=1"),
        (["probe.at=[1]", "probe.batch_sizes=[1, 8]"], "--set probe.batch_sizes=[1, 8]"),
        (["probe.at=[1]", "probe.pairs=[[1, 8]]"], "--set probe.pairs=[[1, 8]]"),
    ],
)
def test_a_preset_with_single_images_for_batch_norm_is_rejected(
    lab: Lab, words: list[str], place: str
) -> None:
    outcome = lab.run("--preset", "quickstart", *sets("model.batch_norm=true", *words))
    assert outcome.code == 2
    assert f"{place}: " in outcome.message
    assert "batch norm (model.batch_norm)" in outcome.message
    assert lab.folders() == []


@pytest.mark.parametrize(("named", "code"), [(512, 1), (128, 0)])
def test_the_presets_micro_batch_size_must_fit_the_limit(lab: Lab, named: int, code: int) -> None:
    export = lab.root / "export"
    words = [*ONE_LARGE, *sets(f"memory.micro_batch_size={named}"), "--workers", "1"]
    outcome = lab.run(
        "--export", str(export), "--preset", "quickstart", *words, "--memory-limit", "1300KiB"
    )
    assert outcome.code == code
    (event,) = raw_events(export, "measured")
    assert [shape["micro_batch_size"] for shape in event["shapes"]] == [named]
    (row,) = table(export, "trials.csv")
    if code:
        assert row["reason"].startswith("memory.micro_batch_size = 512 does not fit: it needs ")
    else:
        assert int(row["peak_memory_bytes"]) < 1300 << 10
        assert plans(export)["b1024-s0"]["reason"] == "1,024 = 8 × 128, as the preset says"


@pytest.mark.campaign
def test_bf16_is_part_of_the_plan(lab: Lab) -> None:
    export = swept(lab, "export", *ONE_LARGE, *sets("train.precision=bf16"))
    assert plans(export)["b1024-s0"]["precision"] == "bf16"
    assert [row["precision"] for row in table(export, "trials.csv")] == ["bf16"]
    again = swept(lab, "again", preset=str(export / SWEEP))
    assert figures(again)["trials.csv"] == figures(export)["trials.csv"]

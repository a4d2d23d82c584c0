"""The preset format: every rule, every mistake, and one message that names file and key."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import (
    BUDGETS,
    TABLES,
    Data,
    Memory,
    Model,
    Run,
    Scaling,
    Settings,
    Train,
)
from tests.messages import says
from tests.unit.engine.experiment.preset_fixtures import (
    BASE,
    FULL,
    base,
    changed,
    parsed,
    refusal,
    written,
)


def only(raw: dict[str, Any]) -> Settings:
    preset = parsed(raw)
    assert preset.trial_count == 1
    return preset.configurations[0].settings


# ---- what a preset says


def test_every_key_of_the_format_is_read(tmp_path: Path) -> None:
    preset = load_preset(written(tmp_path, FULL))
    assert preset.name == "mine"
    assert preset.title == "Small and large batches"
    assert preset.question == "Does a larger batch generalize worse?"
    assert preset.source == "Shen 2018"
    assert preset.raw == tomllib.loads(FULL)
    assert preset.notes == ()  # the cell takes the decay of [train]
    assert preset.plans == ()
    assert [c.label for c in preset.configurations][-1] == "256, raised rate"
    assert preset.trial_count == (4 + 1) * 5
    assert preset.configurations[1].settings == Settings(
        data=Data(name="digits"),
        model=Model(name="cnn", hidden=(32, 16), channels=(4, 8)),
        train=Train(
            batch_size=64,
            lr=0.01,
            epochs=20,
            target_accuracy=0.97,
            optimizer="adamw",
            momentum=0.5,
            weight_decay=0.2,
            loss_reduction="sum",
        ),
        scaling=Scaling(rule="adam-sqrt", base_batch_size=64, max_lr=0.5, warmup_epochs=1.5),
        memory=Memory(micro_batch_size=16),
        run=Run(timing="alone"),
    )


def test_missing_keys_have_their_defaults() -> None:
    preset = parsed(base())
    assert (preset.question, preset.source, preset.group) == ("", "", "")
    assert preset.configurations[0].seeds == (0,)
    assert only(base()) == Settings(
        data=Data(name="digits"),
        model=Model(name="mlp", hidden=None, channels=None),
        train=Train(
            batch_size=64,
            lr=0.01,
            epochs=2,
            steps=None,
            samples=None,
            seconds=None,
            target_accuracy=None,
            optimizer="sgd",
            momentum=0.9,
            weight_decay=0.0,
            loss_reduction="mean",
        ),
        scaling=Scaling(rule="none", base_batch_size=None, max_lr=None, warmup_epochs=0.0),
        memory=Memory(micro_batch_size="auto"),
        run=Run(timing="shared"),
    )


@pytest.mark.parametrize(
    ("table", "key", "values"),
    [
        ("data", "name", ["digits", "mnist", "fashion-mnist", "cifar10"]),
        ("model", "name", ["mlp", "cnn"]),
        (
            "train",
            "optimizer",
            ["sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop"],
        ),
        ("train", "loss_reduction", ["mean", "sum"]),
        ("train", "lr", [1, 0.5, 1e-320, 1e300]),
        ("train", "momentum", [0, 0.0, 0.999]),
        ("train", "weight_decay", [0, 0.1, 7]),
        ("train", "target_accuracy", [0.001, 1]),
        ("train", "batch_size", [1, 2**53]),
        ("scaling", "warmup_epochs", [0, 0.5, 2]),
        ("memory", "micro_batch_size", ["auto", 1, 64]),
        ("model", "hidden", [[], [1], [512, 256, 128]]),
        ("run", "timing", ["shared", "alone"]),
    ],
)
def test_values_that_are_valid(table: str, key: str, values: list[Any]) -> None:
    for value in values:
        settings = only(changed(**{table: {key: value}}))
        found = getattr(getattr(settings, table), key)
        assert found == (tuple(value) if isinstance(value, list) else value)


def test_lenet_accepts_images_that_are_large_enough() -> None:
    settings = only(changed(data={"name": "mnist"}, model={"name": "lenet"}))
    assert settings.model == Model(name="lenet")


@pytest.mark.parametrize("rule", ["linear", "sqrt", "adam-sqrt"])
def test_scaling_rules(rule: str) -> None:
    raw = changed(scaling={"rule": rule, "base_batch_size": 32}, train={"optimizer": "adam"})
    assert only(raw).scaling == Scaling(rule=rule, base_batch_size=32)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_budget_alone(budget: str) -> None:
    raw = base()
    del raw["train"]["epochs"]
    raw["train"][budget] = 3
    train = only(raw).train
    assert {key: getattr(train, key) for key in BUDGETS} == dict.fromkeys(BUDGETS) | {budget: 3}


def test_a_recorded_plan_is_read() -> None:
    plan = {
        "group": "b64-s0",
        "members": ["b64-s0"],
        "batch_size": 64,
        "micro_batch_size": 32,
        "accumulation_steps": 2,
        "evaluation_batch_size": 500,
        "threads": 3,
    }
    assert parsed(changed(plan=[plan])).plans == (
        Plan(
            group="b64-s0",
            members=("b64-s0",),
            batch_size=64,
            micro_batch_size=32,
            accumulation_steps=2,
            evaluation_batch_size=500,
            threads=3,
        ),
    )


def test_the_file_may_have_windows_line_ends(tmp_path: Path) -> None:
    preset = load_preset(written(tmp_path, BASE.replace("\n", "\r\n")))
    assert preset.configurations == parsed(base()).configurations


# ---- texts


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("\x1b]0;owned\x07x", "�]0;owned�x"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("  two\n\n lines\tand a tab ", "two lines and a tab"),
        ("right\u202eto left", "right�to left"),
        ("zero\x00byte\x9b1m", "zero�byte�1m"),
        ("Größe ≥ 64 – 日本", "Größe ≥ 64 – 日本"),
    ],
)
def test_texts_come_out_printable(tmp_path: Path, title: str, shown: str) -> None:
    texts = {"title": title, "question": title, "source": title, "group": title}
    content = tomli_w.dumps({**base(), **texts, "cells": [{"lr": 0.5, "label": title}]})
    preset = load_preset(written(tmp_path, content))
    assert (preset.title, preset.question, preset.source) == (shown, shown, shown)
    assert preset.group == shown
    assert preset.configurations[0].label == shown
    assert preset.raw["title"] == title


@pytest.mark.parametrize("title", ["", " \n\t"])
def test_a_title_is_required(title: str) -> None:
    missing = base()
    del missing["title"]
    for raw in (missing, changed(title=title)):
        assert refusal(raw).startswith("title: required")


@pytest.mark.parametrize("key", ["title", "question", "source", "group"])
def test_a_text_must_be_a_string(key: str) -> None:
    assert says(refusal(changed(**{key: 3})), f"{key}: | string | got 3")
    assert says(refusal(changed(**{key: ["\x1b"]})), f"{key}: | string | got [")


def test_escape_sequences_in_keys_and_values_do_not_reach_the_message() -> None:
    """`refusal` checks that each message is printable."""
    hostile = "\x1b[2J"
    for raw in (
        changed(**{hostile: 1}),
        changed(train={hostile: 1}),
        changed(train={"batch_size": hostile}),
        changed(train={"optimizer": hostile}),
        changed(grid={hostile: [1]}),
        changed(grid={"lr": hostile}),
        changed(grid={"lr": [hostile]}),
        changed(cells=[{hostile: 1}]),
        changed(cells=[{"lr": hostile}]),
        changed(plan=[{hostile: 1}]),
    ):
        refusal(raw)


# ---- keys


@pytest.mark.parametrize(
    ("raw", "key", "near"),
    [
        (changed(titel="x"), "'titel'", "title"),
        (changed(seed=3), "'seed'", "seeds"),
        (changed(trian={}), "'trian'", "train"),
        (changed(scalling={}), "'scalling'", "scaling"),
        (changed(batch_size=64), "'batch_size'", "train.batch_size"),
        (changed(hidden=[64]), "'hidden'", "model.hidden"),
        (changed(data={"nmae": "digits"}), "'data.nmae'", "'name'"),
        (changed(model={"hiden": [1]}), "'model.hiden'", "'hidden'"),
        (changed(train={"batchsize": 64}), "'train.batchsize'", "'batch_size'"),
        (changed(train={"learning_rate": 1}), "'train.learning_rate'", "known: batch_size, lr"),
        (changed(scaling={"rul": "none"}), "'scaling.rul'", "'rule'"),
        (changed(memory={"microbatch": 1}), "'memory.microbatch'", "micro_batch_size"),
        (changed(run={"timings": "alone"}), "'run.timings'", "'timing'"),
        (changed(grid={"batchsize": [1]}), "grid: unknown key 'batchsize'", "'batch_size'"),
        (
            changed(grid={"train": {"batchsize": [1]}}),
            "grid: unknown key 'train.batchsize'",
            "'train.batch_size'",
        ),
        (changed(grid={"trian.lr": [1]}), "grid: unknown key 'trian.lr'", "'train.lr'"),
        (changed(cells=[{"lr": 1}, {"lable": ""}]), "cells[1]: unknown key 'lable'", "'label'"),
        (changed(cells=[{"epoch": 1}]), "cells[0]: unknown key 'epoch'", "'epochs'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    raw: dict[str, Any], key: str, near: str
) -> None:
    message = refusal(raw)
    assert "unknown key" in message
    assert key in message
    assert near in message


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("value", [3, "x", [1], [{"name": "digits"}]])
def test_a_table_must_be_a_table(table: str, value: object) -> None:
    assert refusal(changed(**{table: value})) == f"{table}: expected a table, written [{table}]"


def test_a_bare_key_of_several_tables_is_ambiguous() -> None:
    message = refusal(changed(grid={"name": ["digits"]}))
    assert says(message, "grid: 'name' | ambiguous | data.name or model.name")
    message = refusal(changed(cells=[{"name": "digits"}]))
    assert says(message, "cells[0]: 'name' | ambiguous | data.name or model.name")


@pytest.mark.parametrize(
    ("limit", "count"), [("512MiB", 512 << 20), ("1.5 GB", 1_500_000_000), (800, 800), ("7", 7)]
)
def test_a_memory_limit_is_a_size(limit: str | int, count: int) -> None:
    memory = only(changed(memory={"limit": limit})).memory
    assert (memory.limit, memory.limit_bytes) == (limit, count)
    assert only(base()).memory.limit_bytes is None


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        ("2G", "512MiB | got '2G' | GiB"),
        ("much", "512MiB | got 'much'"),
        ("", "512MiB | got ''"),
        ("0", "1 byte | got '0'"),
        ("9999PiB", "1024 PiB | got '9999PiB'"),
        (0, "expected"),
        (-5, "expected"),
        (1.5, "expected"),
        (True, "expected"),
        ([512], "expected"),
    ],
)
def test_an_invalid_memory_limit(limit: object, parts: str) -> None:
    assert says(refusal(changed(memory={"limit": limit})), f"memory.limit: | {parts}")
    assert "memory.limit" in refusal(changed(grid={"memory.limit": ["1GiB", limit]}))

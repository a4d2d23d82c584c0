"""The preset format: every rule, every mistake, and one message that names file and key."""

import copy
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.fields import field_types
from engine.plan import Plan
from engine.problems import MachineProblem, Problem, UsageProblem, printable
from engine.reading import Preset, assign, load_preset, parse_preset, read_toml
from engine.spec import BUDGETS, TABLES, Data, Memory, Model, Run, Scaling, Settings, Train

FUZZED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

BASE = """\
title = "Small and large"
[data]
name = "digits"
[model]
name = "mlp"
[train]
batch_size = 64
lr = 0.01
epochs = 2
"""

FULL = """\
title = "Small and large batches"
question = "Does a larger batch generalize worse?"
source = "Shen 2018"
seeds = 5

[data]
name = "digits"
[model]
name = "cnn"
hidden = [32, 16]
channels = [4, 8]
[train]
lr = 0.01
epochs = 20
target_accuracy = 0.97
optimizer = "adamw"
momentum = 0.5
weight_decay = 1e-4
loss_reduction = "sum"
[scaling]
rule = "adam-sqrt"
base_batch_size = 64
max_lr = 0.5
warmup_epochs = 1.5
[memory]
micro_batch_size = 16
[run]
timing = "alone"
[grid]
batch_size = [64, 128]
train.weight_decay = [0.1, 0.2]
[[cells]]
batch_size = 256
train.lr = 0.1
label = "256, raised rate"
"""


def base() -> dict[str, Any]:
    return tomllib.loads(BASE)


def changed(**tables: Any) -> dict[str, Any]:
    """The base preset; a table is merged into what is there, anything else replaces it."""
    raw = base()
    for key, value in tables.items():
        if isinstance(value, dict) and isinstance(raw.get(key), dict):
            raw[key].update(value)
        else:
            raw[key] = value
    return raw


def parsed(raw: dict[str, Any]) -> Preset:
    return parse_preset(raw, "file", "file.toml")


def refusal(raw: dict[str, Any]) -> str:
    """The message of a preset that is refused; it begins with the file and is one line."""
    with pytest.raises(UsageProblem) as caught:
        parsed(raw)
    message = str(caught.value)
    assert message.startswith("file.toml: ")
    assert message.isprintable()
    return message.removeprefix("file.toml: ")


def told(action: Callable[[], object]) -> str:
    """The message of a usage problem; anything else that is raised is said in few words."""
    try:
        action()
    except UsageProblem as problem:
        return str(problem)
    except Exception as error:
        pytest.fail(f"raised {type(error).__name__}: {str(error)[:60]}", pytrace=False)
    pytest.fail("was not refused", pytrace=False)


def outcome(action: Callable[[], Preset]) -> Preset | str:
    """The preset, or the message of the problem; nothing else may be raised."""
    try:
        return action()
    except Problem as problem:
        return str(problem)


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def only(raw: dict[str, Any]) -> Settings:
    preset = parsed(raw)
    assert preset.trial_count == 1
    return preset.configurations[0].settings


# ---- what a preset says


def test_every_key_of_the_format_arrives(tmp_path: Path) -> None:
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


def test_what_is_left_out_has_the_defaults_of_the_format() -> None:
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
        ("scaling", "warmup_epochs", [0, 0.5, 3]),
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


def test_lenet_is_known_on_images_that_are_large_enough() -> None:
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


def test_a_recorded_plan_is_taken_over() -> None:
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
        assert refusal(raw) == "title: required, a text that names the experiment"


@pytest.mark.parametrize("key", ["title", "question", "source", "group"])
def test_a_text_must_be_one(key: str) -> None:
    assert refusal(changed(**{key: 3})) == f"{key}: expected a text, got 3"
    assert refusal(changed(**{key: ["\x1b"]})).startswith(f"{key}: expected a text, got [")


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
def test_a_table_must_be_one(table: str, value: object) -> None:
    assert refusal(changed(**{table: value})) == f"{table}: expected a table, written [{table}]"


def test_a_bare_key_of_several_tables_is_ambiguous() -> None:
    message = refusal(changed(grid={"name": ["digits"]}))
    assert message == "grid: 'name' is ambiguous: write data.name or model.name"
    message = refusal(changed(cells=[{"name": "digits"}]))
    assert message == "cells[0]: 'name' is ambiguous: write data.name or model.name"


@pytest.mark.parametrize(
    ("limit", "count"), [("512MiB", 512 << 20), ("1.5 GB", 1_500_000_000), (800, 800), ("7", 7)]
)
def test_a_memory_limit_is_a_size(limit: str | int, count: int) -> None:
    memory = only(changed(memory={"limit": limit})).memory
    assert (memory.limit, memory.limit_bytes) == (limit, count)
    assert only(base()).memory.limit_bytes is None


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (
            "2G",
            "expected a size such as 512MiB, 1.5GB or 800000000 (bytes), got '2G'; write GiB (1024",
        ),
        ("much", "expected a size such as 512MiB, 1.5GB or 800000000 (bytes), got 'much'"),
        ("", "expected a size such as 512MiB, 1.5GB or 800000000 (bytes), got ''"),
        ("0", "expected between 1 byte and 1024 PiB, got '0'"),
        ("9999PiB", "expected between 1 byte and 1024 PiB, got '9999PiB'"),
        (0, "expected "),
        (-5, "expected "),
        (1.5, "expected "),
        (True, "expected "),
        ([512], "expected "),
    ],
)
def test_a_memory_limit_that_is_no_size(limit: object, told: str) -> None:
    assert refusal(changed(memory={"limit": limit})).startswith(f"memory.limit: {told}")
    assert "memory.limit" in refusal(changed(grid={"memory.limit": ["1GiB", limit]}))


# ---- values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-3, "-3"),
        (7.5, "7.5"),
        (64.0, "64.0"),
        ("big", "'big'"),
        (True, "True"),
        ([64], "[64]"),
        ({}, "{}"),
        (2**53 + 1, str(2**53 + 1)),
        (2**80, str(2**80)),
        (10**200, "1" + "0" * 56 + "..."),
    ],
)
def test_a_batch_size_that_is_none(value: object, shown: str) -> None:
    expected = f"expected an integer (at least 1), got {shown}"
    assert refusal(changed(train={"batch_size": value})) == f"train.batch_size: {expected}"
    assert refusal(changed(grid={"batch_size": [1, value]})) == f"grid.batch_size[1]: {expected}"
    assert refusal(changed(cells=[{"batch_size": value}])) == f"cells[0].batch_size: {expected}"
    assert refusal(changed(seeds=value)) == f"seeds: {expected}"


def test_no_batch_size_at_all() -> None:
    raw = base()
    del raw["train"]["batch_size"]
    expected = "train.batch_size: required in [train], or in [grid] or every cell"
    assert refusal(raw) == expected
    assert refusal({**raw, "cells": [{"batch_size": 1}, {"lr": 2.0}]}) == expected
    assert parsed({**raw, "grid": {"batch_size": [1]}}).trial_count == 1
    assert parsed({**raw, "cells": [{"batch_size": 1}, {"batch_size": 2}]}).trial_count == 2


def test_no_rate_at_all() -> None:
    raw = base()
    del raw["train"]["lr"]
    assert refusal(raw) == "train.lr: required in [train], or in [grid] or every cell"
    assert parsed({**raw, "grid": {"lr": [1]}}).trial_count == 1


@pytest.mark.parametrize("table", ["data", "model"])
def test_no_data_or_model_at_all(table: str) -> None:
    for raw in (changed(), changed(**{table: 0})):
        raw[table] = {}
        assert refusal(raw) == f"{table}.name: required in [{table}]"
        del raw[table]
        assert refusal(raw) == f"{table}.name: required in [{table}]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["lr", "weight_decay", "momentum", "seconds", "target_accuracy"])
def test_numbers_are_finite(key: str, value: float) -> None:
    expected = f"must be a finite number, not {value}"
    assert refusal(changed(train={key: value})) == f"train.{key}: {expected}"
    assert refusal(changed(grid={key: [0.5, value]})) == f"grid.{key}[1]: {expected}"
    assert refusal(changed(cells=[{key: value}])) == f"cells[0].{key}: {expected}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_in_lists_are_finite(value: float) -> None:
    expected = f"sharpness.epsilon: must be a finite number, not {value}"
    assert refusal(changed(sharpness={"epsilon": [0.5, value]})) == expected


def test_a_box_is_looked_into_once() -> None:
    refused = refusal(changed(sharpness={"epsilon": [1e-3, 5e-4, 1e-3]}))
    assert refused == "sharpness.epsilon: 0.001 is there twice"


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (0.0, "0.0"), (-0.1, "-0.1"), ("x", "'x'")])
def test_a_rate_is_above_zero(value: object, shown: str) -> None:
    expected = f"train.lr: expected a number (above 0), got {shown}"
    assert refusal(changed(train={"lr": value})) == expected


@pytest.mark.parametrize(
    ("table", "key", "value", "expected"),
    [
        ("train", "momentum", 1, "expected a number (at least 0 and below 1), got 1"),
        ("train", "weight_decay", -1, "expected a number (at least 0), got -1"),
        ("train", "target_accuracy", 1.5, "expected a number (above 0 and at most 1), got 1.5"),
        ("train", "epochs", 2.5, "expected an integer (at least 1), got 2.5"),
        ("train", "seconds", 0, "expected a number (above 0), got 0"),
        ("scaling", "warmup_epochs", -1, "expected a number (at least 0), got -1"),
        ("scaling", "base_batch_size", 0, "expected an integer (at least 1), got 0"),
        ("model", "hidden", [0], "expected a list, each entry an integer (at least 1), got [0]"),
        ("model", "hidden", 64, "expected a list, each entry an integer (at least 1), got 64"),
        (
            "model",
            "channels",
            [],
            "expected a list of at least 1, each entry an integer (at least 1), got []",
        ),
        (
            "probe",
            "at",
            [0, 2],
            "expected a list, each entry a number (at least 0 and at most 1), got [0, 2]",
        ),
        (
            "probe",
            "pairs",
            [[1, 2, 4]],
            "expected a list, each entry a list of 2, each an integer (at least 1), "
            "got [[1, 2, 4]]",
        ),
        (
            "memory",
            "micro_batch_size",
            True,
            "expected one of auto or an integer (at least 1), got True",
        ),
        (
            "train",
            "optimizer",
            "sdg",
            "expected one of adagrad, adam, adamw, momentum, nesterov, rmsprop, sgd, got 'sdg'; "
            "did you mean 'sgd'?",
        ),
        (
            "data",
            "name",
            "minst",
            "expected one of cifar10, digits, fashion-mnist, mnist, got 'minst'; "
            "did you mean 'mnist'?",
        ),
        ("model", "name", 3, "expected one of cnn, lenet, mlp, resnet18, vgg16, vgg16-bn, got 3"),
        ("run", "timing", "allone", "one of alone, shared, got 'allone'; did you mean 'alone'?"),
        (
            "train",
            "lr",
            date(2020, 1, 1),
            "expected a number (above 0), got datetime.date(2020, 1, 1)",
        ),
    ],
)
def test_a_value_of_the_wrong_kind(table: str, key: str, value: object, expected: str) -> None:
    message = refusal(changed(**{table: {key: value}}))
    assert message.startswith(f"{table}.{key}: ")
    assert message.endswith(expected)


def test_a_long_value_is_cut_short() -> None:
    message = refusal(changed(train={"optimizer": "x" * 5000}))
    assert len(message) < 250
    assert "..." in message


def test_two_budgets_or_none() -> None:
    prefix = "train: one budget of epochs, steps, samples, seconds; "
    assert refusal(changed(train={"steps": 3})) == prefix + "epochs and steps are given"
    raw = base()
    del raw["train"]["epochs"]
    assert refusal(raw) == prefix + "none is given"
    raw["train"]["target_accuracy"] = 0.9
    assert refusal(raw) == prefix + "none is given"


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"model": {"name": "lenet"}}, "model.name: lenet needs images of at least 12×12"),
        (
            {"data": {"name": "mnist"}, "model": {"name": "lenet", "hidden": [8]}},
            "model.name: lenet has fixed layers",
        ),
        ({"model": {"channels": [8]}}, "model.channels: an mlp has no convolutions"),
        (
            {"model": {"name": "cnn", "channels": [2, 2, 2, 2]}},
            "model.channels: each entry halves the image",
        ),
        ({"scaling": {"rule": "linear"}}, "scaling.base_batch_size: required by rule 'linear'"),
        (
            {"scaling": {"rule": "adam-sqrt", "base_batch_size": 8}},
            "scaling.rule: adam-sqrt is for adam and adamw, not sgd",
        ),
    ],
)
def test_settings_that_do_not_go_together(tables: dict[str, Any], key: str) -> None:
    assert refusal(changed(**tables)).startswith(key)


@pytest.mark.parametrize("plan", [3, {}, "x", [3], [{}], [{"group": "x", "what": 1}]])
def test_a_plan_that_is_none(plan: object) -> None:
    assert refusal(changed(plan=plan)).startswith("plan: ")


# ---- numbers and nesting beyond all measure


@pytest.mark.parametrize("digits", ["9", "0xf"])
@pytest.mark.parametrize("key", ["batch_size", "optimizer"])
@pytest.mark.parametrize("by_set", [False, True])
def test_a_number_of_thousands_of_digits_is_refused(
    tmp_path: Path, digits: str, key: str, by_set: bool
) -> None:
    number = digits + digits[-1] * 5000
    text = BASE if by_set else tomli_w.dumps(changed(train={key: 77})).replace("77", number)
    path = written(tmp_path, text)
    message = told(lambda: load_preset(path, [f"train.{key}={number}"] if by_set else []))
    assert message.isprintable()
    assert len(message) < 6000


@pytest.mark.parametrize("key", ["title", "seeds", "grid", "cells", "plan", "train"])
def test_a_number_of_thousands_of_digits_in_place_of_anything_else(
    tmp_path: Path, key: str
) -> None:
    number = "0x" + "f" * 5000
    message = told(lambda: load_preset(written(tmp_path, BASE), [f"{key}={number}"]))
    assert f"{tmp_path}" in message or f"--set {key}" in message


@pytest.mark.parametrize("key", ["title", "seeds", "grid.lr", "cells", "plan", "memory", "x"])
def test_tables_nested_without_end_are_refused(tmp_path: Path, key: str) -> None:
    text = BASE.replace('title = "Small and large"', f"{key}{'.a' * 3000} = 1")
    message = told(lambda: load_preset(written(tmp_path, text)))
    assert message.startswith(f"{tmp_path}")


@pytest.mark.parametrize("key", ["momentum", "optimizer", "x"])
def test_tables_nested_without_end_in_a_table_are_refused(tmp_path: Path, key: str) -> None:
    text = f"{BASE}{key}{'.a' * 3000} = 1\n"
    message = told(lambda: load_preset(written(tmp_path, text)))
    assert message.startswith(f"{tmp_path}")


def test_lists_nested_without_end_are_refused(tmp_path: Path) -> None:
    nested = "hidden = " + "[" * 5000 + "]" * 5000
    with pytest.raises(UsageProblem):
        load_preset(written(tmp_path, BASE.replace('name = "mlp"', f'name = "mlp"\n{nested}')))


# ---- files


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\n "])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="is empty") as caught:
        load_preset(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\xff", b'title = "caf\xe9"', b"\xff\xfet\x00i\x00", b"\x80"],
)
def test_a_binary_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="is not a text file") as caught:
        load_preset(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    ["title", "title = ", "[train", "{}", "a: 1", "title = 'x'\ntitle = 'y'", "\0\0", "<html>"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageProblem, match="is no valid TOML: ") as caught:
        load_preset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "line 1" in message or "line 2" in message or "end of document" in message


def test_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", written(tmp_path, BASE) / "below.toml"):
        with pytest.raises(UsageProblem) as caught:
            load_preset(path)
        assert str(caught.value) == f"{path}: no such preset file"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as caught:
        load_preset(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a folder, not a preset file"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / ("x" * 300), Path("/proc/self/mem")):
        with pytest.raises(MachineProblem, match="cannot be read") as caught:
            load_preset(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_the_name_of_the_file_comes_out_printable(tmp_path: Path) -> None:
    for name in ("\x1b[31m.toml", "\udcff.toml"):
        with pytest.raises(UsageProblem) as caught:
            read_toml(tmp_path / name)
        assert str(caught.value).isprintable()


# ---- --set


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.lr=0.1", ("train", "lr"), 0.1),
        ("train.lr = 1e-3 ", ("train", "lr"), 1e-3),
        ("train . lr=1", ("train", "lr"), 1),
        ("train.batch_size=1_024", ("train", "batch_size"), 1024),
        ("train.batch_size=0x10", ("train", "batch_size"), 16),
        ("grid.batch_size=[8, 16]", ("grid", "batch_size"), [8, 16]),
        ("grid.train.lr=[0.1]", ("grid", "train", "lr"), [0.1]),
        ("model.name=cnn", ("model", "name"), "cnn"),
        ("data.name=fashion-mnist", ("data", "name"), "fashion-mnist"),
        ('model.name="cnn"', ("model", "name"), "cnn"),
        ("model.name='cnn'", ("model", "name"), "cnn"),
        ("title=Two words = one title", ("title",), "Two words = one title"),
        ("title=#1", ("title",), "#1"),
        ("title=", ("title",), ""),
        ("title=true story", ("title",), "true story"),
        ("scaling.rule=linear", ("scaling", "rule"), "linear"),
        ("seeds=3", ("seeds",), 3),
        ("train.lr=nan", ("train", "lr"), "nan"),
        ("train={lr = 1.0, epochs = 3}", ("train",), {"lr": 1.0, "epochs": 3}),
        (
            'cells=[{batch_size = 8, label = "x"}]',
            ("cells",),
            [{"batch_size": 8, "label": "x"}],
        ),
    ],
)
def test_set_replaces_a_value(assignment: str, path: tuple[str, ...], value: object) -> None:
    raw = base()
    assign(raw, assignment)
    expected = base()
    table = expected
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value
    found: Any = raw
    for part in path:
        found = found[part]
    if value == "nan":  # a TOML literal, and like no other equal to nothing
        assert found != found
    else:
        assert raw == expected


def test_set_is_checked_like_what_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, BASE)
    for assignments, expected in [
        (["train.batch_size=0"], "train.batch_size: expected an integer (at least 1), got 0"),
        (["train.lr=nan"], "train.lr: must be a finite number, not nan"),
        (["train.lr=quick"], "train.lr: expected a number (above 0), got 'quick'"),
        (["train.batchsize=3"], "unknown key 'train.batchsize'; did you mean 'batch_size'?"),
        (["grid.batchsize=[3]"], "grid: unknown key 'batchsize'; did you mean 'batch_size'?"),
        (["grid.batch_size=3"], "grid.batch_size: expected a list of values, got 3"),
        (["train.steps=3"], "train: one budget of epochs, steps, samples, seconds; epochs and"),
        (["train=3"], "train: expected a table, written [train]"),
        (["select.by=luck"], "select.by: expected one of steps_to_target"),
        (["memory.limit=1G"], "memory.limit: expected a size such as 512MiB, 1.5GB or"),
    ]:
        with pytest.raises(UsageProblem) as caught:
            load_preset(path, assignments)
        assert str(caught.value).startswith(f"{path}: {expected}")


def test_set_without_a_value_takes_the_key_out(tmp_path: Path) -> None:
    raw = base()
    for assignment in ("train.epochs=", "grid.lr = ", "source="):
        assign(raw, assignment)
    assert "epochs" not in raw["train"]
    preset = load_preset(written(tmp_path, BASE), ["train.epochs=", "train.steps=3", "source="])
    assert preset.configurations[0].settings.train.steps == 3
    assert preset.source == ""


def test_a_later_set_wins(tmp_path: Path) -> None:
    preset = load_preset(written(tmp_path, BASE), ["train.lr=1", "seeds=2", "train.lr=2"])
    assert preset.configurations[0].settings.train.lr == 2.0
    assert preset.trial_count == 2


@pytest.mark.parametrize("assignment", ["", "train.lr", "=3", ".lr=3", "train.=3", "a..b=3", "="])
def test_set_without_key_or_value(assignment: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    expected = f"--set {assignment}: expected KEY=VALUE, for example train.lr=0.1"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("assignment", "near"),
    [
        ("batch_size=8", "did you mean train.batch_size?"),
        ("lr=8", "did you mean train.lr?"),
        ("trian.lr=8", "did you mean 'train'?"),
        ("sedes=8", "did you mean 'seeds'?"),
        ("xyzzy=8", "known: name, title, question, source, group, seeds, data"),
        ("\x1b[2J=8", "known: name, title"),
    ],
)
def test_set_of_an_unknown_key(assignment: str, near: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    message = str(caught.value)
    assert message.startswith(f"--set {printable(assignment)}: unknown key ")
    assert near in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("grid.batch_size=[8, 16", "is no TOML value"),
        ('title="half', "is no TOML value"),
        ("train={lr = }", "is no TOML value"),
        ("seeds=1\ntitle='x'", "one value only"),
        ("seeds=1\n[train]", "one value only"),
        ("title.x=1", "'title' is not a table"),
        ("train.lr.x=1", "'lr' is not a table"),
    ],
)
def test_set_of_nonsense(assignment: str, problem: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        assign(base(), assignment)
    message = str(caught.value)
    assert message.startswith(f"--set {printable(assignment)}: ")
    assert message.endswith(problem)


# ---- any text, any tables


LITERALS = ["1", "2", "0.5", "64", "[1]", "[2, 4]", '"adam"', '"sum"', '"mlp"', '"none"', '"x"']
TOKENS = [
    "nan",
    "-inf",
    "true",
    "-3",
    "0",
    "7.5",
    '"big"',
    "[]",
    "{}",
    "[[1], [2]]",
    "{a = 1}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "9" * 30,
    "1e400",
    '"\\u001b[31m"',
    "'''\n'''",
    "[grid]",
    "[[cells]]",
    "[[plan]]",
    "[train]",
    "[claims]",
    "lr = [1, 1.0]",
    'name = ["digits", "mnist"]',
    "train.lr",
    "=",
    ".",
    "#",
    "\n",
    "\x00",
    "\x1b",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid preset with a few places cut, doubled or replaced."""
    text = draw(st.sampled_from([BASE, FULL]))
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value"] * 4 + ["key", "drop", "double", "insert", "cut"])):
            case "value":
                key, equals, _ = lines[at].partition("=")
                lines[at] = f"{key}{equals} {draw(st.sampled_from(LITERALS + TOKENS[:9]))}\n"
            case "key":
                word = draw(
                    st.sampled_from([*TABLES, "lr", "name", "seeds", "plan", "x", "título"])
                )
                lines[at] = f"{word} ={lines[at].partition('=')[2]}\n"
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "insert":
                token = draw(st.sampled_from(TOKENS) | st.text(max_size=8))
                column = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:column] + token + lines[at][column:]
            case "cut":
                start = draw(st.integers(0, len(text)))
                text = text[:start] + text[start + draw(st.integers(0, 30)) :]
                lines = text.splitlines(keepends=True)
        text = "".join(lines)
    content = text.encode("utf-8")
    if draw(st.integers(0, 9)):
        return content
    at = draw(st.integers(0, len(content)))
    return content[:at] + draw(st.binary(max_size=3)) + content[at:]


def check(preset: Preset) -> None:
    """What holds for any preset that was taken."""
    texts = (preset.title, preset.question, preset.source, *preset.notes)
    assert preset.title
    assert all(text.isprintable() for text in texts)
    assert all(c.label.isprintable() for c in preset.configurations)
    assert len({c.id for c in preset.configurations}) == len(preset.configurations)
    assert 1 <= preset.trial_count <= 100_000
    again = parse_preset(tomllib.loads(tomli_w.dumps(preset.raw)), preset.name, "again")
    assert again.configurations == preset.configurations
    assert again.plans == preset.plans
    assert (again.title, again.question, again.source) == texts[:3]


@FUZZED
@given(content=mutated())
def test_any_text_is_taken_or_refused_with_a_message(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    found = outcome(lambda: load_preset(path))
    if isinstance(found, str):
        assert found.startswith(f"{path}: ")
        assert found.isprintable()
    else:
        check(found)


KEYS = st.sampled_from(
    [
        *TABLES,
        *("title", "seeds", "grid", "cells", "plan", "name", "lr", "batch_size", "epochs"),
        *("steps", "hidden", "label", "train.lr", "data.name", "micro_batch_size", "limit", "x"),
    ]
) | st.text(max_size=4)
SCALARS = (
    st.none().map(lambda _: "auto")
    | st.booleans()
    | st.integers()
    | st.integers(1, 9)
    | st.floats()
    | st.floats(0.001, 1)
    | st.text(max_size=5)
    | st.sampled_from(["digits", "mlp", "cnn", "adam", "sgd", "linear", "alone"])
    | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


REAL_KEYS = [(table, key) for table, kind in TABLES.items() for key in field_types(kind)]
FITTING: dict[tuple[str, str], list[Any]] = {
    ("data", "name"): ["digits", "mnist", "cifar10"],
    ("model", "name"): ["mlp", "cnn", "lenet", "vgg16-bn", "resnet18"],
    ("model", "ghost_batch_size"): [2, 8],
    ("model", "width"): [0.5, 1.0],
    ("model", "hidden"): [[], [8], [4, 8]],
    ("model", "channels"): [[8], [4, 8]],
    ("train", "optimizer"): ["sgd", "adam", "rmsprop"],
    ("train", "loss_reduction"): ["mean", "sum"],
    ("scaling", "rule"): ["none", "linear", "adam-sqrt"],
    ("memory", "micro_batch_size"): ["auto", 8],
    ("run", "timing"): ["shared", "alone"],
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A valid preset with some of it replaced, mostly by what fits, else by anything."""

    def fitting(place: tuple[str, str]) -> Any:
        if draw(st.integers(0, 11)) == 0:
            return draw(VALUES)
        return draw(st.sampled_from(FITTING.get(place, [1, 2, 64, 0.5])))

    def named(place: tuple[str, str]) -> str:
        return draw(st.sampled_from([place[1], ".".join(place), ".".join(place)]))

    raw = copy.deepcopy(base())
    places = st.lists(st.sampled_from(REAL_KEYS), max_size=3, unique=True)
    for place in draw(places):
        raw.setdefault(place[0], {})[place[1]] = fitting(place)
    if draw(st.booleans()):
        raw["grid"] = {
            named(place): [fitting(place) for _ in range(draw(st.integers(1, 2)))]
            for place in draw(places)
        }
    if draw(st.booleans()):
        raw["cells"] = [
            {named(place): fitting(place) for place in draw(places)}
            for _ in range(draw(st.integers(0, 2)))
        ]
    if draw(st.integers(0, 3)) == 0:
        where = raw[draw(st.sampled_from(["data", "model", "train"]))]
        (raw if draw(st.booleans()) else where)[draw(KEYS)] = draw(VALUES)
    return raw


@FUZZED
@given(raw=tables())
def test_any_tables_are_taken_or_refused_with_a_message(raw: dict[str, Any]) -> None:
    found = outcome(lambda: parsed(raw))
    if isinstance(found, str):
        assert found.startswith("file.toml: ")
        assert found.isprintable()
    else:
        check(found)


@FUZZED
@given(
    key=KEYS | st.lists(KEYS, max_size=3).map(".".join),
    value=st.sampled_from(TOKENS) | st.text(max_size=12),
)
def test_any_assignment_is_taken_or_refused_with_a_message(key: str, value: str) -> None:
    raw = base()

    def assigned() -> Preset:
        assign(raw, f"{key}={value}")
        return parsed(raw)

    found = outcome(assigned)
    if isinstance(found, str):
        assert found.isprintable()
    else:
        check(found)

"""Values in a preset: which are accepted, and the messages for the others."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.networks.registry import FAMILIES
from tests.messages import says
from tests.unit.engine.experiment.preset_fixtures import (
    BASE,
    base,
    changed,
    parsed,
    refusal,
    told,
    written,
)

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
def test_invalid_batch_sizes(value: object, shown: str) -> None:
    expected = f"expected an integer (at least 1), got {shown}"
    assert refusal(changed(train={"batch_size": value})) == f"train.batch_size: {expected}"
    assert refusal(changed(grid={"batch_size": [1, value]})) == f"grid.batch_size[1]: {expected}"
    assert refusal(changed(cells=[{"batch_size": value}])) == f"cells[0].batch_size: {expected}"
    assert refusal(changed(seeds=value)) == f"seeds: {expected}"


def test_a_missing_batch_size() -> None:
    raw = base()
    del raw["train"]["batch_size"]
    expected = "train.batch_size: required | [train] | [grid] | [[cells]]"
    assert says(refusal(raw), expected)
    assert says(refusal({**raw, "cells": [{"batch_size": 1}, {"lr": 2.0}]}), expected)
    assert parsed({**raw, "grid": {"batch_size": [1]}}).trial_count == 1
    assert parsed({**raw, "cells": [{"batch_size": 1}, {"batch_size": 2}]}).trial_count == 2


def test_a_missing_learning_rate() -> None:
    raw = base()
    del raw["train"]["lr"]
    assert says(refusal(raw), "train.lr: required | [train] | [grid] | [[cells]]")
    assert parsed({**raw, "grid": {"lr": [1]}}).trial_count == 1


@pytest.mark.parametrize("table", ["data", "model"])
def test_missing_data_or_model(table: str) -> None:
    for raw in (changed(), changed(**{table: 0})):
        raw[table] = {}
        assert refusal(raw) == f"{table}.name: required in [{table}]"
        del raw[table]
        assert refusal(raw) == f"{table}.name: required in [{table}]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["lr", "weight_decay", "momentum", "seconds", "target_accuracy"])
def test_numbers_are_finite(key: str, value: float) -> None:
    parts = f"finite | got {value}"
    assert says(refusal(changed(train={key: value})), f"train.{key}: | {parts}")
    assert says(refusal(changed(grid={key: [0.5, value]})), f"grid.{key}[1]: | {parts}")
    assert says(refusal(changed(cells=[{key: value}])), f"cells[0].{key}: | {parts}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_in_lists_are_finite(value: float) -> None:
    message = refusal(changed(sharpness={"epsilon": [0.5, value]}))
    assert says(message, f"sharpness.epsilon: | finite | got {value}")


def test_each_epsilon_is_given_once() -> None:
    refused = refusal(changed(sharpness={"epsilon": [1e-3, 5e-4, 1e-3]}))
    assert says(refused, "sharpness.epsilon: 0.001 | twice")


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (0.0, "0.0"), (-0.1, "-0.1"), ("x", "'x'")])
def test_a_learning_rate_is_above_zero(value: object, shown: str) -> None:
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
            "expected auto or an integer (at least 1), got True",
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
        ("model", "name", 3, f"expected one of {', '.join(sorted(FAMILIES))}, got 3"),
        ("model", "name", "resnet81", "got 'resnet81'; did you mean 'resnet18'?"),
        ("run", "timing", "allone", "one of alone, shared, got 'allone'; did you mean 'alone'?"),
        (
            "train",
            "lr",
            date(2020, 1, 1),
            "expected a number (above 0), got datetime.date(2020, 1, 1)",
        ),
    ],
)
def test_a_value_of_the_wrong_type(table: str, key: str, value: object, expected: str) -> None:
    message = refusal(changed(**{table: {key: value}}))
    assert message.startswith(f"{table}.{key}: ")
    assert message.endswith(expected)


def test_a_long_value_is_cut_short() -> None:
    message = refusal(changed(train={"optimizer": "x" * 5000}))
    assert len(message) < 250
    assert "..." in message


def test_two_budgets_or_none() -> None:
    keys = "train: | one budget | epochs, steps, samples or seconds"
    assert says(refusal(changed(train={"steps": 3})), f"{keys} | got epochs and steps")
    raw = base()
    del raw["train"]["epochs"]
    assert says(refusal(raw), f"{keys} | got none")
    raw["train"]["target_accuracy"] = 0.9
    assert says(refusal(raw), f"{keys} | got none")


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"model": {"name": "lenet"}}, "model.name: lenet needs images of at least 12×12"),
        (
            {"data": {"name": "mnist"}, "model": {"name": "lenet", "hidden": [8]}},
            "model.hidden: lenet has fixed layers",
        ),
        ({"model": {"channels": [8]}}, "model.channels: an mlp has no convolutions"),
        (
            {"model": {"name": "cnn", "channels": [2, 2, 2, 2]}},
            "model.channels: each entry halves the image",
        ),
        ({"scaling": {"rule": "linear"}}, "scaling.base_batch_size: required by rule 'linear'"),
        (
            {"scaling": {"rule": "adam-sqrt", "base_batch_size": 8}},
            "scaling.rule: adam-sqrt",
        ),
    ],
)
def test_contradictory_settings(tables: dict[str, Any], key: str) -> None:
    assert refusal(changed(**tables)).startswith(key)


@pytest.mark.parametrize("plan", [3, {}, "x", [3], [{}], [{"group": "x", "what": 1}]])
def test_invalid_plans(plan: object) -> None:
    assert refusal(changed(plan=plan)).startswith("plan: ")


# ---- numbers and nesting beyond all measure


@pytest.mark.parametrize("digits", ["9", "0xf"])
@pytest.mark.parametrize("key", ["batch_size", "optimizer"])
@pytest.mark.parametrize("by_set", [False, True])
def test_a_number_with_thousands_of_digits_is_rejected(
    tmp_path: Path, digits: str, key: str, by_set: bool
) -> None:
    number = digits + digits[-1] * 5000
    text = BASE if by_set else tomli_w.dumps(changed(train={key: 77})).replace("77", number)
    path = written(tmp_path, text)
    message = told(lambda: load_preset(path, [f"train.{key}={number}"] if by_set else []))
    assert message.isprintable()
    assert len(message) < 6000


@pytest.mark.parametrize("key", ["title", "seeds", "grid", "cells", "plan", "train"])
def test_a_number_with_thousands_of_digits_in_any_place(tmp_path: Path, key: str) -> None:
    number = "0x" + "f" * 5000
    message = told(lambda: load_preset(written(tmp_path, BASE), [f"{key}={number}"]))
    assert f"{tmp_path}" in message or f"--set {key}" in message


@pytest.mark.parametrize("key", ["title", "seeds", "grid.lr", "cells", "plan", "memory", "x"])
def test_deeply_nested_tables_are_rejected(tmp_path: Path, key: str) -> None:
    text = BASE.replace('title = "Small and large"', f"{key}{'.a' * 3000} = 1")
    message = told(lambda: load_preset(written(tmp_path, text)))
    assert message.startswith(f"{tmp_path}")


@pytest.mark.parametrize("key", ["momentum", "optimizer", "x"])
def test_deeply_nested_tables_in_a_table_are_rejected(tmp_path: Path, key: str) -> None:
    text = f"{BASE}{key}{'.a' * 3000} = 1\n"
    message = told(lambda: load_preset(written(tmp_path, text)))
    assert message.startswith(f"{tmp_path}")


def test_deeply_nested_lists_are_rejected(tmp_path: Path) -> None:
    nested = "hidden = " + "[" * 5000 + "]" * 5000
    with pytest.raises(UsageProblem):
        load_preset(written(tmp_path, BASE.replace('name = "mlp"', f'name = "mlp"\n{nested}')))

"""Presets as tables, and what is said of those that are refused."""

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.fields import field_types
from batchscope.engine.experiment.preset import Preset, parse_preset
from batchscope.engine.spec import TABLES

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


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


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

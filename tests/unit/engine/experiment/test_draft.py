"""A draft is a preset file with assignments: its keys, and that it reads as `--set` does."""

from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.draft import Draft, checked, default_of, meaning, split
from batchscope.engine.experiment.fields import field_types
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.spec import TABLES

PRESET = """
title = "Two sizes"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 3
[grid]
batch_size = [8, 16]
train.momentum = [0.5]
"model.init" = ["he"]
[[cells]]
batch_size = 32
label = "a\\tb"
"""


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    path = tmp_path / "two.toml"
    path.write_text(PRESET)
    return Draft(path)


def keys(draft: Draft) -> list[str]:
    return [setting.key for setting in draft.settings()[0]]


def test_all_keys_are_listed(draft: Draft) -> None:
    known, others = draft.settings()
    assert {setting.key: setting.text for setting in known} == {
        "grid.batch_size": "[8, 16]",
        "grid.train.momentum": "[0.5]",
        "seeds": "2",
        "data.name": '"digits"',
        "model.name": '"mlp"',
        "train.lr": "0.1",
        "train.epochs": "3",
        "cells": '[{batch_size = 32, label = "a\\tb"}]',
        "title": '"Two sizes"',
    }
    assert not any(setting.changed for setting in (*known, *others))
    every = {
        f"{table}.{field}"
        for table, kind in TABLES.items()
        for field in field_types(kind)
        if table != "task"
    }
    assert not any(setting.key.startswith("task.") for setting in (*known, *others))
    assert every <= {setting.key for setting in (*known, *others)}


@pytest.mark.parametrize("name", sorted(preset_files()))
def test_setting_a_key_to_its_value_changes_nothing(name: str) -> None:
    path = preset_files()[name]
    known, _ = Draft(path).settings()
    again = load_preset(path, [f"{setting.key}={setting.text}" for setting in known])
    assert again.raw == load_preset(path).raw


def test_a_change_is_an_assignment_and_undone_by_the_old_value(draft: Draft) -> None:
    draft.change("train.epochs", " 5 ")
    draft.change("memory.limit", "1GiB")
    assert draft.assignments == ["train.epochs=5", "memory.limit=1GiB"]
    assert draft.setting("train.epochs").changed
    assert draft.setting("train.epochs").written == "3"
    assert "memory.limit" in keys(draft)
    draft.change("train.epochs", "3")
    assert draft.assignments == ["memory.limit=1GiB"]
    draft.reset("memory.limit")
    assert draft.assignments == []
    draft.change("seeds", "9")
    draft.reset_all()
    assert draft.setting("seeds").text == "2"


def test_trying_does_not_change_the_draft(draft: Draft) -> None:
    draft.change("seeds", "4")
    assert draft.trying("train.lr", "0.2").assignments == ["seeds=4", "train.lr=0.2"]
    assert draft.assignments == ["seeds=4"]


def test_a_draft_reads_as_the_command_line_would(draft: Draft) -> None:
    draft.change("train.epochs", "")
    draft.change("train.steps", "7")
    draft.change("train.optimizer", "adam")
    found = checked(draft.path, draft.assignments).preset
    assert found == load_preset(
        draft.path, ["train.epochs=", "train.steps=7", "train.optimizer=adam"]
    )
    assert found is not None
    assert found.configurations[0].settings.train.steps == 7
    assert found.trial_count == 6


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("train.lr", "0", "train.lr: expected a number (above 0), got 0"),
        ("train.lrr", "1", "unknown key 'train.lrr'; did you mean 'lr'?"),
        ("trian.lr", "1", "trian.lr=1: unknown key 'trian'; did you mean 'train'?"),
        ("grid.batch_size", "[8", "grid.batch_size=[8: "),
        ("train.optimizer", "adamm", "train.optimizer: expected one of "),
        ("model.batch_norm", "3", "model.batch_norm: expected true or false, got 3"),
        ("train.epochs", "", "train: "),
        ("title", "", "title: required"),
    ],
)
def test_problems_are_reported_without_the_file_name(
    draft: Draft, key: str, text: str, problem: str
) -> None:
    draft.change(key, text)
    found = checked(draft.path, draft.assignments)
    assert found.preset is None
    assert found.problem.startswith(problem)


def test_an_assignment_is_split() -> None:
    assert split(" grid . lr = [1, 2] ") == ("grid.lr", "[1, 2]")
    for wrong in ("lr", "lr=3", "=3", "train.lr={"):
        with pytest.raises(UsageProblem):
            split(wrong)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("seeds", "an integer (at least 1); default 1"),
        ("train.lr", "a number (above 0)"),
        ("train.momentum", "a number (at least 0 and below 1); default 0.9"),
        ("model.batch_norm", "true or false; default false"),
        ("grid.lr", "a list, each entry a number (above 0)"),
        ("grid.train.lr", "a list, each entry a number (above 0)"),
        ("grid.nothing", "a list"),
        ("title", "a string"),
        ("train.nothing", ""),
    ],
)
def test_the_values_of_a_key_are_described(key: str, expected: str) -> None:
    assert meaning(key) == expected


def test_listed_defaults_are_the_real_ones(draft: Draft) -> None:
    settings = load_preset(draft.path).configurations[-1].settings
    for key in (setting.key for setting in draft.settings()[1]):
        default = default_of(key)
        if default and not key.startswith(("grid.", "seeds", "task.")):  # this preset has no task
            table, _, name = key.partition(".")
            value = getattr(getattr(settings, table), name)
            assert checked(draft.path, ["probe.at=[0]", f"{key}={default}"]).problem == ""
            assert str(value).casefold() == default.strip('"')


TASK = """
title = "Mine"
[task]
use = "mine:make"
[task.arguments]
width = 32
[train]
lr = 0.1
epochs = 3
[grid]
batch_size = [8, 16]
task.depth = [1, 2]
"""
MODULE = """
def make(seed, width=64, *, depth=2, dropout=0.1, loss=None): ...
def other(seed, heads): ...
"""


@pytest.fixture
def own(tmp_path: Path) -> Draft:
    path = tmp_path / "own.toml"
    path.write_text(TASK)
    (tmp_path / "mine.py").write_text(MODULE)
    return Draft(path)


def test_of_a_task_its_parameters_are_offered_and_neither_data_nor_model(own: Draft) -> None:
    known, others = own.settings()
    assert {"task.use", "task.arguments.width", "grid.task.depth"} <= {each.key for each in known}
    offered = {each.key: each.default for each in others}
    assert offered.keys() >= {"task.path", "task.validation", "train.momentum"}
    assert offered["task.arguments.dropout"] == "0.1"
    assert offered["task.arguments.loss"] == ""
    assert not {"task.arguments.width", "task.arguments.depth", "task.arguments"} & offered.keys()
    assert not any(key.startswith(("data.", "model.")) for key in offered)


def test_another_function_has_other_parameters(own: Draft) -> None:
    own.change("task.use", '"mine:other"')
    assert "task.arguments.heads" in {each.key for each in own.settings()[1]}
    own.change("task.use", '"gone:make"')
    arguments = [each for each in own.settings()[1] if each.key.startswith("task.arguments")]
    assert not arguments
    assert "no" in checked(own.path, own.assignments).problem


@pytest.mark.parametrize("key", ["task.arguments.dropout", "task.dropout"])
def test_an_argument_is_set_in_either_spelling(own: Draft, key: str) -> None:
    own.change(key, "0.5")
    preset = checked(own.path, own.assignments).preset
    assert preset is not None
    tasks = [each.settings.task for each in preset.configurations]
    assert all(task and ("dropout", 0.5) in task.arguments for task in tasks)
    assert "number" in meaning(key)

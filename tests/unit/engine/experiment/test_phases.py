"""Schedules and phases of a preset: how they are read, and every mistake by file and key."""

import copy
import tomllib
from typing import Any

import pytest
import tomli_w

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import Preset, parse_preset
from batchscope.engine.spec import Phase, Schedule
from tests.messages import says

BASE: dict[str, Any] = tomllib.loads("""
title = "Changes in mid-run"
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 4
[grid]
batch_size = [64, 1024]
[[cells]]
batch_size = 1024
label = "switched"
""")


def parsed(more: str = "", **replaced: Any) -> Preset:
    raw = {**copy.deepcopy(BASE), **tomllib.loads(more)}
    for key, value in replaced.items():
        raw[key] = {**raw.get(key, {}), **value}
    return parse_preset(raw, "file", "file.toml")


def refusal(more: str = "", **replaced: Any) -> str:
    with pytest.raises(UsageProblem) as caught:
        parsed(more, **replaced)
    return str(caught.value).removeprefix("file.toml: ")


def phases(preset: Preset) -> dict[str, tuple[Phase, ...]]:
    return {each.label: each.settings.phases for each in preset.configurations}


SWITCH = '[[phases]]\nat = 0.5\nset = { lr = 0.5 }\nwhere = { label = "switched" }\n'


def test_a_phase_applies_to_the_configurations_of_where() -> None:
    """Two configurations that differ in their phases alone are not the same."""
    assert phases(parsed(SWITCH)) == {
        "64": (),
        "1024": (),
        "switched": (Phase(at=0.5, lr=0.5),),
    }
    ids = [each.id for each in parsed(SWITCH).configurations]
    assert ids == ["b64", "b1024", "b1024-then-lr0.5"]


def test_without_where_a_phase_applies_to_all() -> None:
    more = "[[phases]]\nat_epoch = 3\nset = { train.batch_size = 8, train.lr = 1 }"
    found = parsed(more, grid={"batch_size": [64]})
    phase = Phase(at_epoch=3.0, lr=1.0, batch_size=8)
    assert phases(found) == {"64": (phase,), "switched": (phase,)}


def test_phases_are_sorted_by_their_start() -> None:
    """After two epochs of four is half of the budget."""
    more = """
    cells = []
    phases = [
        { at = 0.75, set = { lr = 0.3 } },
        { at_epoch = 2, set = { lr = 0.2 } },
        { at = 0.25, set = { lr = 0.1 }, where = { batch_size = 64 } },
        { at = 0.5, set = { batch_size = 9 }, where = { train.batch_size = 64 } },
    ]"""
    found = phases(parsed(more))["64"]
    assert found == (
        Phase(at=0.25, lr=0.1),
        Phase(at_epoch=2.0, lr=0.2),
        Phase(at=0.5, batch_size=9),
        Phase(at=0.75, lr=0.3),
    )


def test_stored_phases_read_back_unchanged() -> None:
    found = parsed(SWITCH)
    raw = tomllib.loads(tomli_w.dumps(found.raw))
    assert parse_preset(raw, "file", "file.toml").configurations == found.configurations


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("3", "phases: expected tables, written [[phases]]"),
        ("[3]", "phases: expected tables, written [[phases]]"),
        ("[{ set = { lr = 1 } }]", "phases[0]: | at | at_epoch | neither"),
        ("[{ at = 0.5, at_epoch = 1, set = { lr = 1 } }]", "phases[0]: | at | at_epoch | both"),
        ("[{ at = 0.5 }]", "phases[0].set: required | { lr = 0.001 }"),
        ("[{ at = 0.5, set = {} }]", "phases[0].set: required | got {}"),
        ("[{ at = 0.5, set = 3 }]", "phases[0].set: required | got 3"),
        ("[{ at = 0, set = { lr = 1 } }]", "phases[0].at: expected a number (above 0 and below 1)"),
        ("[{ at = 1, set = { lr = 1 } }]", "phases[0].at: expected a number (above 0 and below 1)"),
        ("[{ at = nan, set = { lr = 1 } }]", "phases[0].at: | finite | nan"),
        ("[{ at_epoch = 0, set = { lr = 1 } }]", "phases[0].at_epoch: expected a number (above 0)"),
        (
            "[{ at_epoch = 4, set = { lr = 1 } }]",
            "phases[0].at_epoch: 4 | configuration '64' | 4 epochs",
        ),
        ("[{ at = 0.5, set = { lr = 0 } }]", "phases[0].set.lr: expected a number (above 0), got"),
        ("[{ at = 0.5, set = { batch_size = 0 } }]", "phases[0].set.batch_size: expected an integ"),
        (
            "[{ at = 0.5, set = { momentum = 0.5 } }]",
            "phases[0].set: train.momentum cannot | lr and batch_size",
        ),
        (
            '[{ at = 0.5, set = { model.name = "cnn" } }]',
            "phases[0].set: model.name cannot | lr and batch_size",
        ),
        (
            "[{ at = 0.5, set = { batchsize = 8 } }]",
            "phases[0].set: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            "[{ at = 0.5, set = { lr = 1, train.lr = 2 } }]",
            "phases[0].set: train.lr | twice",
        ),
        (
            "[{ at = 0.5, set = { lr = 1 }, when = 3 }]",
            "phases[0]: unknown key 'when'; did you mean 'where'?",
        ),
        (
            '[{ at = 0.5, set = { lr = 1 }, where = { label = "swiched" } }]',
            "phases[0].where: no configuration has label = 'swiched'; did you mean 'switched'?",
        ),
        (
            "[{ at = 0.5, set = { lr = 1 }, where = { batch_size = 65 } }]",
            "phases[0].where: no configuration has train.batch_size = 65",
        ),
        ("[{ at = 0.5, set = { lr = 1 }, where = {} }]", "phases[0].where: | got {}"),
        (
            "[{ at = 0.5, set = { lr = 1 } }, { at_epoch = 2, set = { lr = 2 } }]",
            "phases[1].set: lr | twice | configuration '64'",
        ),
    ],
)
def test_a_mistake_in_a_phase(phase: str, message: str) -> None:
    found = refusal(f"phases = {phase}")
    if "label = 'swiched'" in message:
        assert found.startswith("phases[0].where: no configuration has label = 'swiched'")
        assert "'switched'" in found
    else:
        assert says(found, message)


def test_at_and_at_epoch_cannot_be_mixed_without_epochs() -> None:
    more = "phases = [{ at = 0.5, set = { lr = 1 } }, { at_epoch = 2, set = { lr = 2 } }]"
    raw = {**copy.deepcopy(BASE), **tomllib.loads(more)}
    raw["train"] = {"lr": 0.1, "steps": 100}
    with pytest.raises(UsageProblem, match=r"phases\[1\]: at and at_epoch .*configuration '64'"):
        parse_preset(raw, "file", "file.toml")


def test_equal_phases_do_not_distinguish_configurations() -> None:
    everywhere = "[[phases]]\nat = 0.5\nset = { lr = 0.5 }"
    assert refusal(everywhere).startswith("configurations 2 and 3 of grid and cells are the same")
    unread = '[schedule]\nfactor = 3\nat = [0.5]\n[grid]\nbatch_size = [64]\nby = ["lr", "batch"]'
    assert refusal(unread).startswith("configurations 1 and 2 of grid and cells are the same")


def test_a_grid_can_vary_the_schedule() -> None:
    more = """
    [schedule]
    at = [0.5, 0.75]
    factor = 5
    kind = "step"
    [grid]
    batch_size = [64]
    by = ["lr", "batch"]
    [[cells]]
    batch_size = 64
    schedule.kind = "constant"
    """
    found = parsed(more).configurations
    ids = ["b64-step-by-lr", "b64-step-by-batch", "b64-constant-by-lr"]
    assert [each.id for each in found] == ids
    step = Schedule(kind="step", at=(0.5, 0.75), factor=5.0)
    assert found[0].settings.schedule == step
    assert [each.settings.schedule.by for each in found] == ["lr", "batch", "lr"]
    assert [each.settings.schedule.kind for each in found] == ["step", "step", "constant"]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ('kind = "linear"', "schedule.kind: expected one of constant, cosine, step, got 'linear'"),
        ('kind = "step"\nfactor = 2', "schedule.at: required by kind 'step': shares of the budget"),
        ('kind = "step"\nat = [0.5]', "schedule.factor: required by kind 'step'"),
        (
            "at = [0.5, 1]",
            "schedule.at: expected a list of at most 32, each entry a number (above 0 and",
        ),
        ("at = 0.5", "schedule.at: expected a list of at most 32, each entry a number"),
        ("factor = 1", "schedule.factor: expected a number (above 1 and at most 1e+06), got 1"),
        ("factor = inf", "schedule.factor: | finite | inf"),
        (
            'kind = "step"\nfactor = 2\nat = [0.5, 0.25]',
            "schedule.at: | increasing",
        ),
        (
            'kind = "step"\nfactor = 2\nat = [0.5, 0.5]',
            "schedule.at: | increasing",
        ),
        ("batch_warmup_epochs = 1", "schedule.batch_warmup_start: required by batch_warmup_epochs"),
        (
            "batch_warmup_epochs = 1\nbatch_warmup_start = 64",
            "schedule.batch_warmup_start: | less than | got 64",
        ),
        (
            "final_lr_share = 2",
            "schedule.final_lr_share: expected a number (at least 0 and at most",
        ),
        ("factr = 2", "unknown key 'schedule.factr'; did you mean 'factor'?"),
        ('by = "rate"', "schedule.by: expected one of batch, lr, got 'rate'"),
    ],
)
def test_a_mistake_in_a_schedule(schedule: str, message: str) -> None:
    assert says(refusal(f"cells = []\n[schedule]\n{schedule}"), message)


@pytest.mark.parametrize(
    ("more", "train", "message"),
    [
        (
            "[[phases]]\nat = 0.5\nset = { batch_size = 1 }",
            {},
            "phases.set.batch_size: | at least 2 | batch norm (model.batch_norm)",
        ),
        (
            "[schedule]\nbatch_warmup_epochs = 1\nbatch_warmup_start = 1",
            {},
            "schedule.batch_warmup_start: | at least 2 | batch norm (model.batch_norm)",
        ),
        (
            "[[phases]]\nat = 0.5\nset = { batch_size = 8 }",
            {"seconds": 3},
            "train.seconds: | batch norm (model.batch_norm) | changing batch size",
        ),
    ],
)
def test_batch_norm_never_gets_a_single_image(
    more: str, train: dict[str, Any], message: str
) -> None:
    raw = {**copy.deepcopy(BASE), **tomllib.loads(more), "cells": []}
    raw["model"]["batch_norm"] = True
    if train:
        raw["train"] = {"lr": 0.1, **train}
    with pytest.raises(UsageProblem) as caught:
        parse_preset(raw, "file", "file.toml")
    assert says(str(caught.value).removeprefix("file.toml: "), message)

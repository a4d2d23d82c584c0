"""Adding a batch size to a sweep's grid gives the same trials as a grid that had it before."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import load_preset, parse_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.add_batch_size import added, with_batch_size
from batchscope.engine.sweeps.commands import (
    Add,
    Continue,
    Pause,
    Retry,
    Skip,
    Stop,
    decode,
    encode,
)
from batchscope.engine.sweeps.sweep_file import read_raw, store
from tests.unit.training_fixtures import configuration, ended, opened, started

BASE = """\
title = "made up"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
[train]
batch_size = 64
lr = 0.1
epochs = 1
"""
READY = ev.DataReady(name="digits", train=1437, test=360, shape=(1, 8, 8), digest="")


def raw(more: str = "", base: str = BASE) -> dict[str, Any]:
    return tomllib.loads(base + more)


def new_ids(of: dict[str, Any], size: int, state: SweepState | None = None) -> list[str]:
    before = {each.id for each in parse_preset(of, "", "").configurations}
    after = with_batch_size(of, size, state or SweepState())
    return [each.id for each in added(after, before)]


@pytest.mark.parametrize(
    ("grid", "ids"),
    [
        ("", ["b32"]),
        ("[grid]\nbatch_size = [16, 64]", ["b32"]),
        ('[grid]\n"train.batch_size" = [16]\nlr = [0.1, 0.2]', ["b32-lr0.1", "b32-lr0.2"]),
        ("[grid.train]\nbatch_size = [16, 64]", ["b32"]),
        ("[grid]\nlr = [0.1, 0.2]", ["b32-lr0.1", "b32-lr0.2"]),
        ("[grid]\nbatch_size = [8]\n[[cells]]\nbatch_size = 16\nlr = 0.2", ["b32-lr0.1"]),
        ("[grid]\nlr = [0.1]\n[[cells]]\nlr = 0.2", ["b32-lr0.1"]),
    ],
)
def test_every_other_setting_of_the_grid_is_combined_with_it(grid: str, ids: list[str]) -> None:
    written = raw(grid)
    before = tomli_w.dumps(written)
    assert new_ids(written, 32) == ids
    assert tomli_w.dumps(written) == before, "what was read is left as it was"
    after = with_batch_size(written, 32, SweepState())
    again = parse_preset(tomllib.loads(tomli_w.dumps(after.raw)), "", "")
    assert again.configurations == after.configurations
    assert len(again.configurations[-1].seeds) == 2
    assert again.notes == parse_preset(written, "", "").notes


ONE_BY_ONE = {
    *("accumulation", "adaptive", "bias-variance", "four-gpus", "grow-the-batch", "lr-scaling"),
    *("sharpness", "train-longer", "warm-start"),
}
"""Experiments whose configurations are cells, which nothing can be copied from."""


@pytest.mark.parametrize("name", sorted(set(preset_files()) - ONE_BY_ONE))
def test_a_batch_size_can_be_added_to_any_shipped_preset(name: str) -> None:
    preset = load_preset(preset_files()[name])
    after = with_batch_size(preset.raw, 48, SweepState())
    new = added(after, {each.id for each in preset.configurations})
    assert {each.settings.train.batch_size for each in new} == {48}
    assert after.claims == preset.claims


@pytest.mark.parametrize(
    ("more", "size", "why"),
    [
        ("[grid]\nbatch_size = [16]", 16, "batch size 16: already"),
        ("", 64, "batch size 64: already"),
        ("[[cells]]\nlr = 0.2", 32, "batch size 32: cannot be added"),
        ("", 1438, "batch size 1,438: "),
        ("[grid]\nbatch_size = [8]\n[[cells]]\nbatch_size = 16", 16, "batch size 16: configurat"),
        (
            '[scaling]\nrule = "adam-sqrt"\nbase_batch_size = 64',
            640,
            "batch size 640: scaling.rule",
        ),
    ],
)
def test_why_a_batch_size_cannot_be_added(more: str, size: int, why: str) -> None:
    base = BASE.replace("lr = 0.1", 'lr = 0.1\noptimizer = "adam"')
    with pytest.raises(UsageProblem) as problem:
        with_batch_size(raw(more, base), size, SweepState().fold([READY]))
    assert str(problem.value).startswith(why)


@pytest.mark.parametrize(
    ("size", "micro", "why"),
    [
        (1, '"auto"', "batch norm (model.batch_norm) has no variance"),
        (359, "359", "micro-batches of 359 leave one of 360"),
        (31, "15", "micro-batches of 15 leave one of 31"),
    ],
)
def test_batch_norm_must_not_get_a_single_image(size: int, micro: str, why: str) -> None:
    base = BASE.replace('name = "mlp"', 'name = "mlp"\nbatch_norm = true')
    written = raw(f"[memory]\nmicro_batch_size = {micro}", base)
    with pytest.raises(UsageProblem) as problem:
        with_batch_size(written, size, SweepState().fold([READY]))
    assert why in str(problem.value)


def test_the_stored_file_is_replaced_atomically(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text("old")
    store(tmp_path, raw())
    assert read_raw(tmp_path) == raw()
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.parametrize(
    "command", [Stop(), Pause(), Continue(), Skip("b8-s0"), Retry("b8-s0"), Add(64)]
)
def test_a_command_is_a_line(command: Any) -> None:
    assert decode(encode(command)) == command
    assert b"\n" not in encode(command)


# ---- the fold

B8, B64 = configuration(8, seeds=2), configuration(64)


def state_after(*events: ev.AnyEvent) -> SweepState:
    return SweepState().fold([*opened([B8]), *events])


def retried(attempt: int, name: str = "b8-s0") -> ev.AnyEvent:
    return ev.TrialRetried(trial=name, attempt=attempt)


@pytest.mark.parametrize(
    ("status", "anew"),
    [
        *[("failed", True), ("stopped", True), ("skipped", True)],
        *[("finished", False), ("diverged", False)],
    ],
)
def test_which_trials_can_be_retried(status: ev.TrialStatus, anew: bool) -> None:
    state = state_after(started(B8), ended(B8, status=status), retried(1))
    trial = state.trials["b8-s0"]
    assert trial.status == ("queued" if anew else status)
    assert (trial.attempt, trial.done) == (1, not anew)
    if anew:
        state.fold([started(B8, attempt=2), retried(1), retried(2)])
        assert (trial.attempt, trial.status) == (2, "running")
        assert state.fold([ended(B8, attempt=2), retried(2)]).count("finished") == 1


def test_a_trial_that_never_started_can_be_retried() -> None:
    skipped = ended(B8, status="skipped", attempt=0)
    state = state_after(skipped)
    assert state.count("skipped") == 1
    assert state.fold([retried(0)]).count("queued") == 2
    assert state.fold([retried(0, "nobody"), retried(7)]).count("queued") == 2
    assert state.fold([started(B8), ended(B8)]).count("finished") == 1


def test_added_configurations_add_their_trials_once() -> None:
    event = ev.ConfigurationsAdded(configurations=(B64, B8))
    state = state_after(started(B8), event, event)
    assert list(state.configurations) == ["b8", "b64"]
    assert state.added == ["b64"]
    assert list(state.trials) == ["b8-s0", "b8-s1", "b64-s0"]
    assert state.trials["b8-s0"].status == "running"
    assert "1 trial of batch size 64" in state.log[-1].text
    state.fold([started(B64), ended(B64)])
    assert state.count("finished") == 1


def test_a_batch_size_that_leaves_a_single_image_can_be_added() -> None:
    """1,437 = 4 × 359 + 1: the image joins the last batch."""
    base = BASE.replace('name = "mlp"', 'name = "mlp"\nbatch_norm = true')
    after = with_batch_size(raw("", base), 359, SweepState().fold([READY]))
    assert 359 in {each.settings.train.batch_size for each in after.configurations}

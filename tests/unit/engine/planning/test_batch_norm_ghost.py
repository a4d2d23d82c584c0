"""Ghost batch norm: what it normalizes over, and that micro-batches do not change it."""

import asyncio
import copy
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.journal.events import AnyEvent, Note
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.planner import Planner, PlanningTask
from batchscope.engine.planning.batch_norm import (
    exact_in_parts,
    grouped,
    groups,
    largest_cut,
    leaves_one,
    normalized_over,
    parts_groups,
    refusal,
    smallest_cut,
)
from batchscope.engine.planning.micro_batch import Shape, next_size
from batchscope.engine.planning.plan import Plan, make_plan, reusable
from batchscope.engine.spec import Data, Memory, Model, Probe, Settings, Train
from batchscope.engine.training.batches import Images, Labeled, load_images
from batchscope.engine.training.jobs.micro_batch_bench import Bench
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.modules import norm_of_channels, norm_of_features
from batchscope.engine.training.model.passes import Automatic, alone, unheard
from tests.unit.engine.planner_fixtures import ALONE, DATA, Office, fits
from tests.unit.engine.training.stack_fixtures import Group, trial_of
from tests.unit.training_fixtures import CPU, Run, configuration, intercept, make_trial, synthetic

DIGITS = DATASETS["digits"]
MLP = Model(name="mlp", hidden=(9, 6), batch_norm=True, ghost_batch_size=8)
CNN = Model(name="cnn", channels=(3,), hidden=(7,), batch_norm=True, ghost_batch_size=8)
RESNET = Model(name="resnet18", width=0.04, ghost_batch_size=8)
VGG = Model(name="vgg16-bn", width=0.04, hidden=(5,), ghost_batch_size=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Three batches an epoch, of 50, 50 and 29 images."""
    return load_images(synthetic(tmp_path_factory.mktemp("ghost"), train=129, test=40), CPU)


# ---- which images are together


@given(st.integers(1, 300), st.integers(2, 70))
def test_groups_hold_every_image_and_none_is_alone(count: int, size: int) -> None:
    found = groups(count, size)
    assert sum(found) == count
    assert all(number == size for number in found[:-1])
    assert found[-1] <= size + 1
    assert 1 not in found or count == 1


def bounds(lengths: list[int]) -> set[int]:
    """Where groups end."""
    return {sum(lengths[:number]) for number in range(1, len(lengths) + 1)}


@given(st.integers(2, 200), st.integers(2, 30), st.integers(1, 220))
def test_an_allowed_cut_splits_no_group_and_any_other_does(
    count: int, size: int, micro: int
) -> None:
    pieces = [len(range(count)[first : first + micro]) for first in range(0, count, micro)]
    cut = [number for piece in pieces for number in groups(piece, size)]
    allowed = not (leaves_one((count,), micro) or parts_groups((count,), micro, size))
    if allowed:
        assert cut == groups(count, size)
    elif micro % size:
        assert not bounds(pieces) <= bounds(groups(count, size)) or 1 in pieces


@given(st.lists(st.integers(2, 60), min_size=1, max_size=2), st.integers(1, 70), st.integers(2, 9))
def test_the_smallest_and_the_largest_cut(counts: list[int], most: int, size: int) -> None:
    able = [
        micro
        for micro in range(1, most + 1)
        if not leaves_one(counts, micro) and not parts_groups(counts, micro, size)
    ]
    assert largest_cut(most, counts, size) == max(able, default=None)
    assert smallest_cut(most, counts, size) == min(able, default=None)


@pytest.mark.parametrize(
    ("micro", "part"),
    [
        (None, None),
        (50, None),
        (64, None),
        (24, None),
        (30, "micro-batches of 30 split them: choose a multiple of 8 for "
             "memory.micro_batch_size, such as 24"),
        (5, "such as 8"),
    ],
)  # fmt: skip
def test_what_is_refused(micro: int | None, part: str | None) -> None:
    problem = refusal((50, 29), micro, 8)
    assert problem is None if part is None else part in (problem or "")


@settings(max_examples=150, deadline=None)
@given(
    batch_size=st.integers(2, 300),
    size=st.integers(2, 40),
    limit=st.integers(1, 4000),
    wobble=st.integers(0, 30),
)
def test_only_sizes_that_split_no_group_are_executed(
    batch_size: int, size: int, limit: int, wobble: int
) -> None:
    tried: list[Shape] = []
    while (micro := next_size(batch_size, tried, limit, 10, (batch_size,), size)) is not None:
        assert not parts_groups((batch_size,), micro, size)
        assert not leaves_one((batch_size,), micro)
        assert micro not in {shape.micro_batch_size for shape in tried}
        tried.append(Shape(micro, 10 + 10 * micro + micro * wobble % 31, 100.0 / micro, rounds=7))
    smallest = smallest_cut(batch_size, (batch_size,), size)
    assert tried
    if all(shape.peak_bytes > 0.9 * limit for shape in tried):
        assert smallest in {shape.micro_batch_size for shape in tried}


# ---- the arithmetic


def naive(module: nn.Module, x: Tensor, size: int) -> Tensor:
    """One batch norm of torch, called with one group after the other."""
    whole, start = [], 0
    while start < len(x):
        end = len(x) if len(x) - start - size <= 1 else start + size
        whole.append(module(x[start:end]))
        start = end
    return torch.cat(whole)


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("count", [3, 8, 9, 10, 24, 25])
def test_the_module_is_torchs_own_group_by_group(features: bool, count: int) -> None:
    make = norm_of_features if features else norm_of_channels
    ghost, plain = make(4, 8).double(), make(4, None).double()
    generator = torch.Generator().manual_seed(count)
    x = torch.randn((count, 4) if features else (count, 4, 3, 2), generator=generator).double()
    for scale in (1.0, 0.5):
        pair = [(scale * x).requires_grad_() for _ in range(2)]
        found, expected = ghost(pair[0]), naive(plain, pair[1], 8)
        assert torch.equal(found, expected)
        for output in (found, expected):
            output.square().sum().backward()
        assert pair[0].grad is not None
        torch.testing.assert_close(pair[0].grad, pair[1].grad, rtol=1e-12, atol=1e-12)
    for one, other in zip(ghost.buffers(), plain.buffers(), strict=True):
        assert torch.equal(one, other)
    assert ghost.num_batches_tracked == 2 * len(groups(count, 8))
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("model", [MLP, CNN, RESNET, VGG], ids=lambda model: model.name)
def test_an_accumulated_gradient_equals_that_of_the_whole_batch(
    images: Images, model: Model, explicit: bool
) -> None:
    """And so do the running statistics."""
    built = build_model(model, DIGITS, 3).double()
    inputs, labels = images.train.double(), images.train_labels
    for size, micros in ((48, (48, 24, 16, 8)), (43, (43, 40, 16)), (41, (41, 24))):
        found = []
        for micro in micros:
            flat = FlatModel(copy.deepcopy(built), CPU, torch.float64)
            passes = alone(flat) if explicit else Automatic([flat])
            batch = torch.arange(size).unsqueeze(0)
            passes.accumulate(Labeled(inputs, labels), batch, micro, True, unheard)
            found.append((flat.gradient, *flat.model.buffers()))
        assert float(found[0][0].abs().max()) > 0.0
        for other in found[1:]:
            for one, another in zip(found[0], other, strict=True):
                torch.testing.assert_close(one, another, rtol=1e-8, atol=1e-11)


def test_other_groups_give_another_gradient(images: Images) -> None:
    found = []
    for ghost in (8, 16):
        built = build_model(replace(MLP, ghost_batch_size=ghost), DIGITS, 3)
        flat = FlatModel(built, CPU)
        batch = torch.arange(48).unsqueeze(0)
        alone(flat).accumulate(images.samples, batch, 48, True, unheard)
        found.append(flat.gradient)
    apart = torch.linalg.vector_norm(found[0] - found[1]) / torch.linalg.vector_norm(found[0])
    assert float(apart) > 0.01


# ---- in training


def train_of(batch_size: int = 50) -> Train:
    return Train(batch_size=batch_size, lr=0.01, epochs=2)


@pytest.mark.parametrize("model", [MLP, RESNET], ids=lambda model: model.name)
def test_a_training_in_micro_batches_equals_that_of_whole_batches(
    images: Images, model: Model
) -> None:
    runs = [
        Run(make_trial(train_of(48), model, memory=Memory(micro_batch_size=micro)), images)
        for micro in (48, 24, 40)
    ]
    for run in runs[1:]:
        assert run.ended.status == "finished"
        torch.testing.assert_close(run.flat.weights, runs[0].flat.weights, rtol=1e-4, atol=1e-6)
    assert "48 = 1 × 40 + 8" in runs[2].plan.reason


@pytest.mark.parametrize(
    "model", [CNN, replace(RESNET, width=0.1), VGG], ids=lambda model: model.name
)
def test_a_stack_trains_like_its_members_alone(images: Images, model: Model) -> None:
    """Up to inputs of ReLU that are so near to 0 that rounding decides: one moves some percent.

    That the gradients are equal is tested in float64, where there are none (`test_passes`).
    """
    trial = trial_of(model, batch_size=48, epochs=1, lr=0.01)
    together = Group(trial, images)
    for seed in (0, 1, 2):
        by_itself = Group(trial, images, (seed,)).training.stepper
        ours, expected = together.training.stepper.stack.weights[seed], by_itself.stack.weights[0]
        moved = torch.linalg.vector_norm(expected - by_itself.start_weights[0])
        assert torch.linalg.vector_norm(ours - expected) < 0.2 * moved


def test_memory_that_runs_out_is_cut_between_groups(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 50, 50 and 29: of 50 the half is 25, and 24 are three groups."""
    seen: list[int] = []

    def took(size: int) -> None:
        if size > 30:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        seen.append(size)

    intercept(monkeypatch, lambda real, *words: real(*words[:-1], took))
    run = Run(make_trial(train_of(), MLP), images)
    assert run.ended.status == "finished"
    assert set(seen) == {24, 2, 5}  # 50 = 24 + 24 + 2, 29 = 24 + 5


def test_a_probe_keeps_groups_and_moves_nothing(images: Images) -> None:
    probe = Probe(at=(0, 1), batch_sizes=(20, 33), draws=2, pairs=((2, 8),), pair_draws=2)
    plain = Run(make_trial(train_of(), MLP), images)
    probed = Run(make_trial(train_of(), MLP, probe=probe), images)
    assert torch.equal(plain.flat.weights, probed.flat.weights)
    pairs = zip(plain.flat.model.buffers(), probed.flat.model.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_measuring_splits_no_group(tmp_path: Path) -> None:
    odd = load_images(synthetic(tmp_path, train=123, test=40), CPU)
    trial = make_trial(train_of(100), replace(CNN, ghost_batch_size=12))
    bench = Bench((trial,), make_plan(trial, odd.train_size, 1), odd, CPU, 1 << 40)
    sizes = [shape.micro_batch_size for shape in bench.shapes(5.0)]
    assert sizes[0] == 12
    assert sizes[-1] == 100
    assert all(size % 12 == 0 for size in sizes[:-1])


# ---- texts and refusals


def asked(model: Model, micro: int | None = None) -> Settings:
    memory = Memory(micro_batch_size=micro) if micro else Memory()
    return Settings(data=Data(name="digits"), model=model, train=train_of(), memory=memory)


def test_texts_of_plan_and_tables() -> None:
    trial = make_trial(train_of(), MLP, memory=Memory(micro_batch_size=24))
    assert normalized_over(trial.settings, make_plan(trial, 129, 1)) == 8
    assert (
        grouped(trial.settings) == "ghost batch norm over 8 samples, whatever the micro-batch size"
    )
    assert exact_in_parts(trial.settings)
    without = replace(MLP, ghost_batch_size=None)
    assert not exact_in_parts(asked(without))
    assert grouped(asked(without)) == ""
    assert exact_in_parts(asked(Model(name="mlp")))
    assert not exact_in_parts(asked(Model(name="vgg16-bn")))


def test_a_recorded_plan_that_splits_groups_is_not_used_again() -> None:
    """The group may have been changed in an exported file, which holds its plans."""
    trial = make_trial(train_of(), MLP)
    plan = make_plan(trial, 129, 1)
    assert reusable([plan], (trial,), 129) is plan
    cut = replace(plan, micro_batch_size=24, accumulation_steps=3)
    assert reusable([cut], (trial,), 129) is cut
    other = replace(plan, micro_batch_size=25, accumulation_steps=2)
    assert reusable([other], (trial,), 129) is None


def planned(model: Model, limit: int) -> tuple[Plan, list[str]]:
    """The plan of a batch of 64 where memory has room for so many images, and what is warned of."""
    office = Office(configuration(64, model=model), limit=fits(limit))
    (trial,), warned = office.trials, list[str]()

    def heard(event: AnyEvent) -> None:
        office.state.apply(event)
        if isinstance(event, Note):
            warned.append(event.text)

    planner = Planner(office.state, heard, Control(), fits(limit), office.planner._costs)
    task = PlanningTask(office.worker, ALONE, (trial,), 1, DATA)  # type: ignore[arg-type]
    asyncio.run(planner.settle(task))
    return office.state.plans[trial.id], warned


def test_a_cut_between_groups_is_in_the_plan_without_a_warning() -> None:
    plan, notes = planned(MLP, 8)
    assert (plan.micro_batch_size, notes) == (8, [])
    assert "; ghost batch norm over 8 samples" in plan.reason
    plan, notes = planned(replace(MLP, ghost_batch_size=None), 8)
    assert "batch norm sees 8 samples at a time" in plan.reason
    assert len(notes) == 1


PRESET = """
title = "Ghosts"
[data]
name = "digits"
[model]
name = "mlp"
batch_norm = true
ghost_batch_size = 32
[train]
batch_size = 128
lr = 0.1
epochs = 1
[memory]
micro_batch_size = 64
"""


@pytest.mark.parametrize(
    ("assignment", "part"),
    [
        (
            "memory.micro_batch_size=48",
            "memory.micro_batch_size: ghost batch norm normalizes groups of 32",
        ),
        ("model.ghost_batch_size=1", "model.ghost_batch_size: expected an integer (at least 2)"),
        ("model.batch_norm=false", "model.ghost_batch_size: mlp has no batch norm; set"),
        ("train.batch_size=1", "batch norm (model.batch_norm) has no variance"),
        ("model.width=0", "model.width: expected a number (above 0 and at most 8)"),
        ("model.name=vgg16", "model.batch_norm: vgg16 has none; choose model.name = 'vgg16-bn'"),
    ],
)
def test_a_refused_preset(tmp_path: Path, assignment: str, part: str) -> None:
    path = tmp_path / "ghosts.toml"
    path.write_text(PRESET)
    assert load_preset(path, ["memory.micro_batch_size=500"]).trial_count == 1
    with pytest.raises(UsageProblem, match=f"^--set {re.escape(assignment)}: ") as caught:
        load_preset(path, [assignment])
    assert part.removeprefix(f"{assignment.partition('=')[0]}: ") in str(caught.value)


def test_a_single_image_is_refused_where_the_network_always_has_batch_norm(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(PRESET.replace("batch_norm = true", "").replace('"mlp"', '"resnet18"'))
    with pytest.raises(UsageProblem) as caught:
        load_preset(path, ["train.batch_size=1"])
    assert "batch norm (model.name = resnet18) has no variance over a single" in str(caught.value)

"""Replicates as one stack: each equals its trial run alone, up to rounding."""

from typing import Any

import pytest
import torch

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Model, Phase, Probe, Scaling, Schedule, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.engine.training.stack_fixtures import (
    WIDE,
    Group,
    equal_bits,
    learnable,
    replicate,
    trial_of,
)
from tests.unit.training_fixtures import CPU, SMALL_MLP, Run, naive_norm, set_gradients, synthetic

SEEDS = (0, 1, 2)
NORMED = Model(name="mlp", hidden=(9,), batch_norm=True)
CNN = Model(name="cnn", channels=(3, 4), hidden=(7,))
NORMED_CNN = Model(name="cnn", channels=(3,), hidden=(7,), batch_norm=True)
PROBE = Probe(at=(0.0, 0.4, 1.0), batch_sizes=(2, 5), draws=3, pairs=((2, 4),), pair_draws=2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """38 images to train on, 12 held out, of classes that a network can learn."""
    prepared = synthetic(tmp_path_factory.mktemp("split"), train=50, test=20)
    return learnable(load_images(prepared, CPU, 12))


CASES = {
    "sgd": trial_of(),
    "without gradients": trial_of(WIDE, lr=0.02),
    "sgd with decay": trial_of(weight_decay=0.02),
    "momentum": trial_of(optimizer="momentum"),
    "nesterov": trial_of(optimizer="nesterov", weight_decay=0.01),
    "adam": trial_of(optimizer="adam", lr=0.003),
    "adamw": trial_of(optimizer="adamw", lr=0.003, weight_decay=0.1),
    "adagrad": trial_of(optimizer="adagrad", lr=0.03),
    "rmsprop": trial_of(optimizer="rmsprop", lr=0.001),
    "batch norm": trial_of(NORMED, batch_size=25, optimizer="momentum", lr=0.02),
    "cnn": trial_of(CNN, optimizer="momentum", lr=0.02),
    "cnn with batch norm": trial_of(NORMED_CNN, batch_size=25, lr=0.05),
    "summed loss": trial_of(loss_reduction="sum", lr=0.003),
    "bf16": trial_of(precision="bf16", optimizer="momentum", lr=0.02),
    "with replacement": trial_of(sampling="with-replacement"),
    "ragged micro-batches": trial_of(memory=Memory(micro_batch_size=5)),
    "single images": trial_of(batch_size=1, epochs=2, lr=0.01),
    "more than the full batch": trial_of(batch_size=70),
    "steps": trial_of(epochs=None, steps=9),
    "samples": trial_of(epochs=None, samples=120),
    "warmup": trial_of(
        scaling=Scaling(rule="linear", base_batch_size=16, warmup_epochs=1.5), optimizer="momentum"
    ),
    "the rate falls": trial_of(schedule=Schedule(kind="step", at=(0.3, 0.7), factor=3)),
    "the batch grows": trial_of(
        schedule=Schedule(kind="step", by="batch", at=(0.2, 0.5), factor=3, max_batch_size=30),
        memory=Memory(micro_batch_size=11),
        batch_size=4,
    ),
    "cosine": trial_of(
        schedule=Schedule(kind="cosine", batch_warmup_epochs=1.3, batch_warmup_start=3)
    ),
    "phases": trial_of(
        phases=(Phase(at=0.4, batch_size=7), Phase(at_epoch=2, lr=0.01, batch_size=20)),
        optimizer="momentum",
    ),
    "probed": trial_of(probe=PROBE),
}

EXACT = ("epoch", "steps", "samples", "lr", "epoch_samples", "noise_draws", "last_batch_size")
NEAR = ("train_loss", "test_loss", "validation_loss", "weight_norm", "distance_from_init")
MEASURED = ("update_norm_mean", "path_length", "noise_trace")
SHARES = ("train_accuracy", "test_accuracy", "validation_accuracy")
TOLERANCE = 1e-4


def assert_close(found: list[EpochRecord], expected: list[EpochRecord]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for name in EXACT:
            assert getattr(ours, name) == getattr(theirs, name), name
        for name in (*NEAR, *MEASURED):
            assert getattr(ours, name) == near(getattr(theirs, name)), name
        for name in SHARES:  # one image may be on the border between two classes
            assert getattr(ours, name) == near(getattr(theirs, name), abs=0.101), name
        if theirs.noise_trace is not None:  # a difference of what may be nearly the same
            size = theirs.noise_trace + abs(theirs.noise_signal or 0.0)
            assert ours.noise_signal == near(theirs.noise_signal, abs=TOLERANCE * size)
        assert len(ours.norms) == len(theirs.norms)
        for one, other in zip(ours.norms, theirs.norms, strict=True):
            assert (one.first_step, one.count) == (other.first_step, other.count)
            assert one.mean == near(other.mean)
        assert Norms(ours.norms).std == near(Norms(theirs.norms).std, abs=1e-6)


def near(value: float | None, abs: float | None = None) -> Any:
    return None if value is None else pytest.approx(value, rel=TOLERANCE, abs=abs)


def assert_is_alone(trial: Trial, images: Images, layout: str = "") -> Group:
    """Every member has the figures of a run of its own; theirs are not those of each other."""
    group = Group(trial, images, SEEDS, layout=layout)
    assert {e.stacked for e in map(group.started, SEEDS)} == {len(SEEDS)}
    for seed in SEEDS:
        alone = Run(replicate(trial, seed), images)
        ended = group.ended(seed)
        assert (ended.status, ended.reason) == (alone.ended.status, alone.ended.reason)
        assert group.started(seed).init_norm == pytest.approx(alone.started.init_norm, rel=1e-6)
        assert_close(group.records(seed), alone.records)
        weights, theirs = group.weights(seed), alone.flat.copy_weights()
        if ended.reason:
            continue  # it goes on moving, unseen, until all have ended
        assert torch.dist(weights, theirs) < TOLERANCE * theirs.norm()
        for one, other in zip(
            group.training.stepper.stack.members[SEEDS.index(seed)].model.buffers(),
            alone.flat.model.buffers(),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=1e-5)
        assert [p.steps for p in group.probes(seed)] == [p.steps for p in alone.probes]
    assert len({group.records(seed)[-1].test_loss for seed in SEEDS}) == len(SEEDS)
    return group


@pytest.mark.parametrize("name", CASES)
def test_a_member_equals_its_trial_run_alone(name: str, images: Images) -> None:
    assert_is_alone(CASES[name], images)


@pytest.mark.parametrize("name", ["cnn", "cnn with batch norm"])
def test_a_member_equals_its_trial_in_the_contiguous_layout(name: str, images: Images) -> None:
    assert_is_alone(CASES[name], images, "contiguous")


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"target_accuracy": 0.3},
        {"target_loss": 2, "target_checks": 3},
    ],
)
def test_a_member_equals_its_trial_with_images_held_out(
    target: dict[str, object], split: Images
) -> None:
    group = assert_is_alone(trial_of(SMALL_MLP, batch_size=6, epochs=12, **target), split)
    if target:
        assert len({group.records(seed)[-1].steps for seed in SEEDS}) > 1, "they end apart"


def test_a_step_uses_the_gradient_of_each_replicate(images: Images) -> None:
    """Of its own images, against autograd on its own network, and so its norm."""
    trial = trial_of(CNN, batch_size=9)
    members = tuple(replicate(trial, seed) for seed in SEEDS)
    stepper = Stepper(members, make_plan(trial, images.train_size, 1), images, CPU)
    batch = torch.stack([torch.arange(seed, seed + 9) for seed in SEEDS])
    stepper.step(batch, 1, 0)
    for row, seed in enumerate(SEEDS):
        model = build_model(CNN, DATASETS["digits"], seed).double()
        some = batch[row]
        set_gradients(model, images.train[some].double(), images.train_labels[some], "mean")
        found = stepper.stack.members[row].model.parameters()
        for parameter, naive in zip(found, model.parameters(), strict=True):
            assert parameter.grad is not None
            assert naive.grad is not None
            torch.testing.assert_close(parameter.grad.double(), naive.grad, rtol=1e-4, atol=1e-6)
        norm = naive_norm([p.grad for p in model.parameters() if p.grad is not None])
        assert float(stepper.lengths.kept[0, row]) == pytest.approx(norm, rel=1e-5)


def test_initial_weights_are_those_of_each_seed(images: Images) -> None:
    trial, seeds = trial_of(CNN), (7, 3, 3, 12)
    members = tuple(replicate(trial, seed) for seed in seeds)
    stepper = Stepper(members, make_plan(trial, images.train_size, 1), images, CPU)
    for flat, seed in zip(stepper.stack.members, seeds, strict=True):
        expected = build_model(CNN, DATASETS["digits"], seed).state_dict()
        found = flat.model.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    start = stepper.start_weights
    assert torch.equal(start[1], start[2])
    assert not torch.equal(start[0], start[1])


@pytest.mark.parametrize("name", ["adam", "cnn with batch norm", "probed", "bf16"])
def test_a_stack_gives_the_same_bits_again(name: str, images: Images) -> None:
    one, other = (Group(CASES[name], images, SEEDS) for _ in range(2))
    for seed in SEEDS:
        assert one.figures(seed) == other.figures(seed)
        assert equal_bits(one.weights(seed), other.weights(seed))


# ---- probes


def test_probes_before_the_first_step_equal_those_of_the_trial_alone(images: Images) -> None:
    """To the last bit: the weights are the same, and a probe takes one replicate at a time."""
    trial = trial_of(CNN, probe=Probe(at=(0.0,), batch_sizes=(2, 5), draws=6, pairs=((2, 4),)))
    group = Group(trial, images, SEEDS)
    for seed in SEEDS:
        (found,) = group.probes(seed)
        (expected,) = Run(replicate(trial, seed), images).probes
        assert found.draws == expected.draws
        assert found.competitions == expected.competitions
    assert group.probes(0)[0].draws != group.probes(1)[0].draws


@pytest.mark.parametrize("name", ["sgd", "cnn with batch norm"])
def test_later_probes_equal_those_of_the_trial_alone_up_to_rounding(
    name: str, images: Images
) -> None:
    plain = CASES[name]
    # two images that batch norm sees alone are put apart by rounding
    probe = Probe(at=(0.4, 1.0), batch_sizes=(10, 20), draws=3, pairs=((10, 20),), pair_draws=2)
    train = {"batch_size": 25, "lr": 0.05}
    trial = trial_of(plain.settings.model, probe=probe, **train)
    group = Group(trial, images, SEEDS)
    unprobed = Group(trial_of(plain.settings.model, **train), images)
    for seed in SEEDS:
        alone = Run(replicate(trial, seed), images)
        for found, expected in zip(group.probes(seed), alone.probes, strict=True):
            assert (found.at_share, found.epoch, found.steps) == (
                *(expected.at_share, expected.epoch, expected.steps),
            )
            for ours, theirs in zip(found.draws, expected.draws, strict=True):
                assert ours.batch_size == theirs.batch_size
                assert ours.norms.mean == pytest.approx(theirs.norms.mean, rel=1e-3)
                assert ours.pairwise_cosine == pytest.approx(theirs.pairwise_cosine, abs=1e-3)
            for pair, other in zip(found.competitions, expected.competitions, strict=True):
                assert pair.cosine == pytest.approx(other.cosine, abs=1e-3)
        assert group.records(seed) == unprobed.records(seed), "the training does not notice"
        assert torch.equal(group.weights(seed), unprobed.weights(seed))


def test_a_wide_stack_stores_no_gradients_and_a_single_trial_does(images: Images) -> None:
    """So that the case of that name tells both ways apart."""
    trial = trial_of(WIDE)
    for seeds, kept in ((SEEDS, False), (SEEDS[:1], True)):
        members = tuple(replicate(trial, seed) for seed in seeds)
        stepper = Stepper(members, make_plan(trial, images.train_size, 1), images, CPU)
        stepper.step(torch.arange(16).expand(len(seeds), -1), 2, 0)
        assert bool(stepper.stack.gradient.any()) == kept

"""Real trainings with changing batch size or learning rate, compared with a plain loop."""

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn, optim

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.planning.batch_norm import pieces, refusal
from batchscope.engine.planning.plan import Plan, make_plan, reusable
from batchscope.engine.processes.orders import Measure
from batchscope.engine.spec import Memory, Model, Phase, Probe, Schedule, Train, Trial
from batchscope.engine.training.batches import Images, epoch_order, load_images
from batchscope.engine.training.jobs.micro_batch_bench import measure
from batchscope.engine.training.model.build import build_model
from tests.unit.training_fixtures import (
    CPU,
    SMALL_MLP,
    Run,
    make_trial,
    naive_norm,
    set_gradients,
    synthetic,
    untimed,
)

DIGITS = DATASETS["digits"]
NORMED = Model(name="mlp", hidden=(9,), batch_norm=True)
GROWS = Schedule(kind="step", at=(0.25, 0.5), factor=2, by="batch", max_batch_size=30)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


def trial_of(model: Model = SMALL_MLP, **more: Any) -> Trial:
    names = ("scaling", "memory", "probe", "schedule", "phases")
    tables = {key: more.pop(key) for key in names if key in more}
    train = {"batch_size": 10, "lr": 0.1, "epochs": 4, **more}
    return make_trial(msgspec.convert(train, Train), model, **tables)


class Naive:
    """Train by a list of epochs, each a list of the batch size and learning rate of every step."""

    def __init__(
        self,
        trial: Trial,
        images: Images,
        course: list[list[tuple[int, float]]],
        make: Callable[[list[nn.Parameter]], optim.Optimizer],
    ) -> None:
        model = build_model(trial.settings.model, DIGITS, trial.seed)
        optimizer = make(list(model.parameters()))
        reduction = trial.settings.train.loss_reduction
        self.norms: list[list[float]] = []
        for epoch, steps in enumerate(course, start=1):
            order, first = epoch_order(images.train_size, trial.seed, epoch), 0
            self.norms.append([])
            for size, lr in steps:
                batch = order[first : first + size]
                first += size
                set_gradients(model, images.train[batch], images.train_labels[batch], reduction)
                gradients = [p.grad for p in model.parameters() if p.grad is not None]
                self.norms[-1].append(naive_norm(gradients))
                for group in optimizer.param_groups:
                    group["lr"] = lr
                optimizer.step()
        self.weights: list[Tensor] = [p.detach() for p in model.parameters()]


def sgd(parameters: list[nn.Parameter]) -> optim.Optimizer:
    return optim.SGD(parameters, lr=1.0)


def momentum(parameters: list[nn.Parameter]) -> optim.Optimizer:
    return optim.SGD(parameters, lr=1.0, momentum=0.9)


def adam(parameters: list[nn.Parameter]) -> optim.Optimizer:
    return optim.Adam(parameters, lr=1.0)


EPOCH = [(10, 0.1)] * 5
CASES: dict[str, tuple[Trial, list[list[tuple[int, float]]], Any, list[int]]] = {
    "the rate falls": (
        trial_of(schedule=Schedule(kind="step", at=(0.5, 0.75), factor=4), optimizer="momentum"),
        [EPOCH, EPOCH, [(10, 0.025)] * 5, [(10, 0.00625)] * 5],
        momentum,
        [10, 10, 10, 10],
    ),
    "the batch grows": (  # to 20, to 30, and 40 / 30 are left to the rate
        trial_of(schedule=GROWS),
        [
            EPOCH,
            [(20, 0.1), (20, 0.1), (10, 0.1)],
            [(30, 0.075), (20, 0.075)],
            [(30, 0.075), (20, 0.075)],
        ],
        sgd,
        [10, 20, 30, 30],
    ),
    "the batch grows, in micro-batches": (
        trial_of(schedule=GROWS, memory=Memory(micro_batch_size=7), optimizer="momentum"),
        [
            EPOCH,
            [(20, 0.1), (20, 0.1), (10, 0.1)],
            [(30, 0.075), (20, 0.075)],
            [(30, 0.075), (20, 0.075)],
        ],
        momentum,
        [10, 20, 30, 30],
    ),
    "the batch warms up and the sum of losses is taken": (
        trial_of(
            schedule=Schedule(batch_warmup_epochs=1, batch_warmup_start=3),
            loss_reduction="sum",
            lr=0.01,
            epochs=2,
        ),
        [[(3, 0.01)] * 9 + [(6, 0.01)] * 3 + [(5, 0.01)], [(10, 0.01)] * 5],
        sgd,
        [6, 10],
    ),
    "cosine": (
        trial_of(schedule=Schedule(kind="cosine"), optimizer="adam", lr=0.01, epochs=2),
        [
            [(10, 0.005 * (1 + math.cos(math.pi * n / 10))) for n in range(5)],
            [(10, 0.005 * (1 + math.cos(math.pi * n / 10))) for n in range(5, 10)],
        ],
        adam,
        [10, 10],
    ),
    "phases": (  # the second in the middle of an epoch: after 62.5 images
        trial_of(
            phases=(Phase(at_epoch=0.5, lr=0.02), Phase(at_epoch=1.25, batch_size=4)), epochs=2
        ),
        [
            [(10, 0.1)] * 3 + [(10, 0.02)] * 2,
            [(10, 0.02)] * 2 + [(4, 0.02)] * 7 + [(2, 0.02)],
        ],
        sgd,
        [10, 4],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_course_equals_a_plain_loop(name: str, images: Images) -> None:
    trial, course, make, sizes = CASES[name]
    run, naive = Run(trial, images), Naive(trial, images, course, make)
    for ours, theirs in zip(run.weights, naive.weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-6)
    records = run.records
    assert [record.steps for record in records] == list(itertools.accumulate(map(len, course)))
    assert [record.samples for record in records] == [50 * n for n in range(1, len(course) + 1)]
    assert [record.last_batch_size for record in records] == sizes
    assert [record.lr for record in records] == pytest.approx([steps[-1][1] for steps in course])
    for record, norms in zip(records, naive.norms, strict=True):
        assert sum(piece.count for piece in record.norms) == len(norms)
        mean = sum(piece.count * piece.mean for piece in record.norms) / len(norms)
        assert mean == pytest.approx(sum(norms) / len(norms), rel=1e-4)
    assert run.started.total_steps == records[-1].steps
    changes = len({size for steps in course for size, _ in steps[:-1]}) > 1
    assert run.started.total_samples == (records[-1].samples if changes else None)
    assert (run.started.batch_size, run.started.steps_per_epoch) == (10, 5)


def test_growing_batch_and_falling_rate_are_equal_before_the_first_change(images: Images) -> None:
    """The same bits: figures of the epochs before are equal without rounding."""
    at = {"kind": "step", "at": (0.5,), "factor": 3.0}
    grown, fallen, plain = (
        [
            msgspec.structs.replace(untimed(record), norms=(), peak_memory_bytes=None)
            for record in Run(trial_of(schedule=schedule), images).records
        ]
        for schedule in (
            Schedule(**at, by="batch"),  # type: ignore[arg-type]
            Schedule(**at),  # type: ignore[arg-type]
            Schedule(),
        )
    )
    figures = ("test_loss", "train_loss", "weight_norm", "distance_from_init")
    for epoch in range(2):
        of = [[getattr(r[epoch], n) for n in figures] for r in (grown, fallen, plain)]
        assert of[0] == of[1] == of[2]
    assert grown[2].test_loss != fallen[2].test_loss != plain[2].test_loss


def test_how_often_the_noise_scale_is_measured_follows_the_batch_size(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Steps 1 and 129 with batches below 256 images; then every 32nd: 161 and 193."""
    folder = tmp_path_factory.mktemp("more")
    more = load_images(synthetic(folder, train=1024, test=20), CPU)
    schedule = Schedule(kind="step", at=(1 / 17,), factor=32, by="batch")
    trial = trial_of(batch_size=8, epochs=17, schedule=schedule, lr=0.001)
    run = Run(trial, more)
    assert [record.noise_draws for record in run.records][:2] == [1, 1]
    assert [record.last_batch_size for record in run.records][:2] == [8, 256]
    measured = [n for n in range(129, 129 + 64) if (n - 1) % 32 == 0]
    assert sum(record.noise_draws for record in run.records[1:]) == len(measured)


def test_a_target_ends_a_training_within_its_course(images: Images) -> None:
    run = Run(trial_of(schedule=GROWS, target_accuracy=0.01, lr=0.01), images)
    assert run.ended.reason.endswith("test accuracy of 0.01")
    assert run.records[-1].steps == 5


def test_probe_moments_count_images_when_the_batch_changes(images: Images) -> None:
    """10 steps are 62 % of 16 steps, but half of the images."""
    schedule = Schedule(kind="step", at=(0.5,), factor=2, by="batch")
    probe = Probe(at=(0.0, 0.5, 1.0), batch_sizes=(2,), draws=2)
    run = Run(trial_of(schedule=schedule, probe=probe), images)
    assert [(probed.at_share, probed.steps) for probed in run.probes] == [
        (0.0, 0),
        (0.5, 10),
        (1.0, 16),
    ]


def test_a_budget_in_seconds(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a second a step, the batch grows after five steps and the rate falls after eight."""
    now = 1000.0

    def step() -> bool:
        nonlocal now
        now += 1.0
        return False

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    schedule = Schedule(kind="step", at=(0.5,), factor=2, by="batch")
    trial = trial_of(epochs=None, seconds=10.0, schedule=schedule, phases=(Phase(at=0.8, lr=0.01),))
    run = Run(trial, images, halted=step)
    assert run.started.total_steps is None
    # four steps at 10 images take 40, then 10 that are left: with the fifth step half is over
    assert [(r.steps, r.last_batch_size, r.lr) for r in run.records] == [
        (5, 10, 0.1),
        (8, 20, 0.1),
        (10, 20, 0.01),
    ]


def test_batch_norm_never_gets_a_single_image(images: Images) -> None:
    """Batches of 12 and 24 leave two of 50 images over, and batches of 7 leave one, which joins."""
    good = trial_of(
        NORMED, batch_size=12, schedule=Schedule(kind="step", at=(0.5,), factor=2, by="batch")
    )
    assert pieces(good.settings, 50) == (12, 2, 24)
    other = trial_of(NORMED, batch_size=10, phases=(Phase(at=0.5, batch_size=7),))
    counts = pieces(other.settings, 50)
    assert counts == (10, 7, 8)
    assert refusal(counts, None) is None
    for trial in (good, other):
        run = Run(trial, images)
        assert run.ended.status == "finished"
    assert [record.steps for record in run.records] == [5, 10, 17, 24]


def test_the_plan_holds_for_the_largest_batch(images: Images) -> None:
    trial = trial_of(schedule=GROWS)
    plan = make_plan(trial, 50, threads=1)
    assert (plan.batch_size, plan.largest_batch_size, plan.largest) == (10, 30, 30)
    assert (plan.micro_batch_size, plan.accumulation_steps) == (30, 1)
    named = make_plan(trial_of(schedule=GROWS, memory=Memory(micro_batch_size=12)), 50, 1)
    assert (named.micro_batch_size, named.accumulation_steps) == (12, 3)
    constant = make_plan(trial_of(), 50, threads=1)
    assert (constant.largest_batch_size, constant.largest) == (None, 10)
    assert reusable([plan], [trial], 50) is plan
    old: dict[str, Any] = msgspec.to_builtins(constant)
    del old["largest_batch_size"]  # as one is that was recorded before there were schedules
    recorded = msgspec.convert(old, Plan)
    assert reusable([recorded], [trial_of()], 50) is recorded
    assert reusable([recorded], [trial], 50) is None


def test_the_largest_batch_is_measured(images: Images) -> None:
    trial = trial_of(schedule=GROWS)
    data = Prepared(
        name="digits", folder="", train=50, test=20, shape=(1, 8, 8), classes=10, digest=""
    )
    order = Measure(
        members=(trial,),
        plan=make_plan(trial, 50, threads=1),
        attempt=1,
        data=data,
        device_name="cpu",
        asked_bytes=None,
        limit_bytes=1 << 30,
        seconds=1.0,
    )
    found = measure(order, images, CPU)
    assert isinstance(found, MicroBatchesMeasured)
    assert found.batch_size == 30
    assert max(shape.micro_batch_size for shape in found.shapes) == 30

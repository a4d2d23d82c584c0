"""Real trainings of a few epochs, against a loop that does it the ordinary way."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor, nn, optim

from engine.bins import Norms
from engine.datasets import DATASETS
from engine.events import EpochRecord, EpochsFinished, Progress, TrialStarted
from engine.plan import make_plan
from engine.prepare import prepare
from engine.spec import Memory, Model, Scaling, Train, Trial
from engine.training import loop
from engine.training.evaluation import Figures
from engine.training.flat import FlatModel
from engine.training.images import Images, epoch_order, load_images
from engine.training.models import build_model
from tests.unit.training_fixtures import (
    CPU,
    SMALL_MLP,
    Run,
    evaluate_alone,
    make_trial,
    naive_norm,
    set_gradients,
    synthetic,
    untimed,
)

DIGITS = DATASETS["digits"]
CNN = Model(name="cnn", channels=(3, 5), hidden=(11,))
DEEP = Model(name="mlp", hidden=(64, 64, 64))

TOLERANCE = 2e-5

MakeOptimizer = Callable[[Iterable[nn.Parameter]], optim.Optimizer]
Rate = Callable[[int], float]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(prepare("digits", tmp_path_factory.mktemp("home"), None), CPU)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


@pytest.fixture
def a_second_a_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A clock that each step, where it asks whether to halt, moves by one second."""
    now = 1000.0

    def step() -> bool:
        nonlocal now
        now += 1.0
        return False

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    return step


# ---- the ordinary way


class NaiveEpoch(NamedTuple):
    steps: int
    samples: int
    lr: float
    train: Figures
    test: Figures
    weight_norm: float
    distance: float
    norms: list[float]


@torch.no_grad()
def naive_figures(model: nn.Module, images: Tensor, labels: Tensor) -> Figures:
    logits = model(images).double()
    chosen = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    right = (logits.argmax(1) == labels).double()
    return Figures(float(-chosen.mean()), float(right.mean()))


def naive_training(
    trial: Trial,
    images: Images,
    total_steps: int,
    make_optimizer: MakeOptimizer,
    rate: Rate,
) -> tuple[nn.Module, list[NaiveEpoch]]:
    """Separate parameters, the whole batch at once, torch's optimizer, one list a figure."""
    size, train = images.train_size, trial.settings.train
    batch_size = min(train.batch_size, size)
    model = build_model(trial.settings.model, DIGITS, trial.seed)
    optimizer = make_optimizer(model.parameters())
    start = [p.detach().clone() for p in model.parameters()]
    epochs: list[NaiveEpoch] = []
    steps = samples = 0
    for epoch in itertools.count(1):
        norms = []
        order = epoch_order(size, trial.seed, epoch)
        for first in range(0, size, batch_size):
            batch = order[first : first + batch_size]
            set_gradients(
                model, images.train[batch], images.train_labels[batch], train.loss_reduction
            )
            norms.append(naive_norm([p.grad for p in model.parameters() if p.grad is not None]))
            steps, samples = steps + 1, samples + len(batch)
            lr = rate(steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            if steps == total_steps:
                break
        part = images.train_part
        weights = [p.detach() for p in model.parameters()]
        epochs.append(
            NaiveEpoch(
                steps,
                samples,
                lr,
                naive_figures(model, images.train[part], images.train_labels[part]),
                naive_figures(model, images.test, images.test_labels),
                naive_norm(weights),
                naive_norm([w - s for w, s in zip(weights, start, strict=True)]),
                norms,
            )
        )
        if steps == total_steps:
            return model, epochs
    raise AssertionError


def assert_close(run: Run, model: nn.Module, epochs: list[NaiveEpoch], images: Images) -> None:
    """Equal but for float32 rounding, which grows a little from step to step."""
    assert [(r.epoch, r.steps, r.samples) for r in run.records] == [
        (number, e.steps, e.samples) for number, e in enumerate(epochs, start=1)
    ]
    for record, naive in zip(run.records, epochs, strict=True):
        assert record.lr == pytest.approx(naive.lr, rel=1e-12)
        assert record.train_loss == pytest.approx(naive.train.loss, rel=TOLERANCE)
        assert record.test_loss == pytest.approx(naive.test.loss, rel=TOLERANCE)
        one_image = 1.01 / len(images.train_part)  # on the border between two classes
        assert record.train_accuracy == pytest.approx(naive.train.accuracy, abs=one_image)
        one_image = 1.01 / len(images.test)
        assert record.test_accuracy == pytest.approx(naive.test.accuracy, abs=one_image)
        assert record.weight_norm == pytest.approx(naive.weight_norm, rel=TOLERANCE)
        assert record.distance_from_init == pytest.approx(naive.distance, rel=TOLERANCE)
        norms = Norms(record.norms)
        assert norms.count == len(naive.norms)
        assert norms.mean == pytest.approx(np.mean(naive.norms), rel=TOLERANCE)
        if len(naive.norms) > 1:
            std = np.std(naive.norms, ddof=1)
            assert norms.std == pytest.approx(std, rel=10 * TOLERANCE)
    theirs = [p.detach() for p in model.parameters()]
    apart = naive_norm([a - b for a, b in zip(run.weights, theirs, strict=True)])
    assert apart < TOLERANCE * epochs[-1].distance


class Case(NamedTuple):
    train: Train
    optimizer: MakeOptimizer
    total_steps: int
    rate: Rate
    model: Model = SMALL_MLP
    scaling: Scaling = Scaling()
    memory: Memory = Memory()
    seed: int = 0


def constant(lr: float) -> Rate:
    return lambda _: lr


def sgd(parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    return optim.SGD(parameters, lr=1.0)


# 1,437 training images: 45 steps of 32 an epoch, the last with 29.
CASES = {
    "sgd": Case(Train(batch_size=32, lr=0.05, epochs=3), sgd, 135, constant(0.05)),
    "momentum, weight decay, last batch of 37": Case(
        Train(
            batch_size=100, lr=0.02, epochs=3, optimizer="momentum", momentum=0.8, weight_decay=0.01
        ),
        lambda p: optim.SGD(p, lr=1.0, momentum=0.8, weight_decay=0.01),
        45,
        constant(0.02),
    ),
    "nesterov, summed loss": Case(
        Train(batch_size=256, lr=1e-4, epochs=3, optimizer="nesterov", loss_reduction="sum"),
        lambda p: optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True),
        18,
        constant(1e-4),
    ),
    "adam, warmup of 1.5 epochs": Case(
        Train(batch_size=64, lr=0.003, epochs=3, optimizer="adam"),
        lambda p: optim.Adam(p, lr=1.0),
        69,
        lambda step: 0.003 * min(1.0, step / 34.5),
        scaling=Scaling(warmup_epochs=1.5),
    ),
    "adamw, linear rule": Case(
        Train(batch_size=128, lr=0.001, epochs=3, optimizer="adamw", weight_decay=0.05),
        lambda p: optim.AdamW(p, lr=1.0, weight_decay=0.05),
        36,
        constant(0.002),
        scaling=Scaling(rule="linear", base_batch_size=64),
    ),
    "adam, square-root rule of adam": Case(
        Train(batch_size=256, lr=0.001, epochs=3, optimizer="adam"),
        lambda p: optim.Adam(p, lr=1.0, betas=(0.6, 0.996), eps=5e-9),
        18,
        constant(0.002),
        scaling=Scaling(rule="adam-sqrt", base_batch_size=64),
    ),
    "adagrad, square-root rule with a cap": Case(
        Train(batch_size=400, lr=0.02, epochs=4, optimizer="adagrad"),
        lambda p: optim.Adagrad(p, lr=1.0),
        16,
        constant(0.03),
        scaling=Scaling(rule="sqrt", base_batch_size=100, max_lr=0.03),
    ),
    "rmsprop": Case(
        Train(batch_size=200, lr=0.001, epochs=3, optimizer="rmsprop"),
        lambda p: optim.RMSprop(p, lr=1.0),
        24,
        constant(0.001),
    ),
    "convolutions": Case(
        Train(batch_size=64, lr=0.05, epochs=2), sgd, 46, constant(0.05), model=CNN, seed=4
    ),
    "batch size 1": Case(Train(batch_size=1, lr=0.002, epochs=1), sgd, 1437, constant(0.002)),
    "the full batch": Case(Train(batch_size=1437, lr=0.2, epochs=5), sgd, 5, constant(0.2)),
    "more than the full batch": Case(
        Train(batch_size=5000, lr=0.2, epochs=5), sgd, 5, constant(0.2)
    ),
    "ragged micro-batches": Case(
        Train(batch_size=50, lr=0.05, epochs=2),
        sgd,
        58,
        constant(0.05),
        memory=Memory(micro_batch_size=7),
    ),
    "summed loss in micro-batches": Case(
        Train(batch_size=50, lr=0.001, epochs=2, loss_reduction="sum"),
        sgd,
        58,
        constant(0.001),
        memory=Memory(micro_batch_size=16),
    ),
    "steps that end within the third epoch": Case(
        Train(batch_size=64, lr=0.05, steps=50), sgd, 50, constant(0.05)
    ),
    "samples that end within the second epoch": Case(
        Train(batch_size=64, lr=0.05, samples=1500), sgd, 24, constant(0.05)
    ),
    "samples that end on the last, smaller batch": Case(
        Train(batch_size=1000, lr=0.05, samples=1437), sgd, 2, constant(0.05)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_training_equals_the_ordinary_loop(case: Case, digits: Images) -> None:
    trial = make_trial(
        case.train, case.model, seed=case.seed, scaling=case.scaling, memory=case.memory
    )
    run = Run(trial, digits)
    model, epochs = naive_training(trial, digits, case.total_steps, case.optimizer, case.rate)
    assert (run.ended.status, run.ended.reason) == ("finished", "")
    assert run.started.total_steps == case.total_steps
    assert_close(run, model, epochs, digits)
    assert epochs[-1].distance > 1e-3


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_last_smaller_batch_has_the_weight_of_its_own_samples(
    reduction: str, small: Images
) -> None:
    """20 + 20 + 10 images."""
    train = Train(batch_size=20, lr=0.01, epochs=1, loss_reduction="sum")
    trial = make_trial(train if reduction == "sum" else replace(train, loss_reduction="mean"))
    model, epochs = naive_training(trial, small, 3, sgd, constant(0.01))
    run = Run(trial, small)
    assert [r.samples for r in run.records] == [50]
    assert_close(run, model, epochs, small)


# ---- budgets


@pytest.mark.parametrize(
    ("budget", "batch_size", "steps", "samples", "epoch_samples"),
    [
        ({"epochs": 2}, 20, 6, 100, [50, 50]),
        ({"epochs": 2}, 1, 100, 100, [50, 50]),
        ({"epochs": 3}, 50, 3, 150, [50, 50, 50]),
        ({"epochs": 3}, 70, 3, 150, [50, 50, 50]),
        ({"steps": 1}, 20, 1, 20, [20]),
        ({"steps": 3}, 20, 3, 50, [50]),
        ({"steps": 5}, 20, 5, 90, [50, 40]),
        ({"samples": 1}, 20, 1, 20, [20]),
        ({"samples": 41}, 20, 3, 50, [50]),
        ({"samples": 50}, 20, 3, 50, [50]),
        ({"samples": 51}, 20, 4, 70, [50, 20]),
        ({"samples": 100}, 20, 6, 100, [50, 50]),
        ({"seconds": 1e-9}, 20, 1, 20, [20]),
    ],
)
def test_a_budget_ends_with_the_step_that_spends_it(
    budget: dict[str, Any],
    batch_size: int,
    steps: int,
    samples: int,
    epoch_samples: list[int],
    small: Images,
) -> None:
    run = Run(make_trial(Train(batch_size=batch_size, lr=0.01, **budget)), small)
    last = run.records[-1]
    assert run.ended.status == "finished"
    assert (last.steps, last.samples) == (steps, samples)
    assert [r.epoch_samples for r in run.records] == epoch_samples
    assert [r.epoch for r in run.records] == list(range(1, len(epoch_samples) + 1))
    assert run.started.total_steps == (None if "seconds" in budget else steps)


def test_a_budget_in_seconds_ends_with_the_step_that_spends_it(
    small: Images, a_second_a_step: Callable[[], bool]
) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=0.01, seconds=7.5)), small, halted=a_second_a_step)
    assert run.ended.status == "finished"
    assert [(r.steps, r.samples, r.seconds) for r in run.records] == [
        *[(3, 50, 3.0), (6, 100, 3.0), (8, 140, 2.0)],
    ]


def test_a_budget_in_seconds_on_the_real_clock(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=0.01, seconds=0.2)), small)
    *whole, last = run.records
    assert run.ended.status == "finished"
    assert sum(r.seconds for r in run.records) >= 0.2 - 1e-9
    assert [r.epoch_samples for r in whole] == [50] * len(whole)
    full, rest = divmod(last.steps, 3)
    assert last.samples == full * 50 + rest * 20
    assert len(run.records) == full + bool(rest)


def first_at(target: float, accuracies: list[float]) -> int:
    reached = (epoch for epoch, found in enumerate(accuracies, start=1) if found >= target)
    return next(reached, 0)


def test_a_target_ends_the_run_at_the_first_epoch_that_reaches_it(digits: Images) -> None:
    train = Train(batch_size=64, lr=0.1, epochs=30)
    records = Run(make_trial(train), digits).records
    test, on_train = [r.test_accuracy for r in records], [r.train_accuracy for r in records]
    # One of the accuracies to come that the training images reach at another epoch.
    target = next(a for a in test if first_at(a, test) not in (1, first_at(a, on_train)))
    run = Run(make_trial(replace(train, target_accuracy=target)), digits)
    assert [r.test_accuracy for r in run.records] == test[: first_at(target, test)]
    assert run.ended.status == "finished"
    assert run.ended.reason == f"reached a test accuracy of {target:g}"
    assert run.started.total_steps == 30 * 23


def test_a_target_that_is_not_reached_leaves_the_budget(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=1e-6, epochs=4, target_accuracy=1.0)), small)
    assert (run.ended.status, run.ended.reason, len(run.records)) == ("finished", "", 4)


# ---- the same and not the same


def without_times(run: Run) -> list[bytes]:
    """What was stated, to the last bit; how many epochs go into one statement is no figure."""
    records = [untimed(record) for record in run.records]
    return [msgspec.json.encode(part) for part in (run.started, *records, run.ended)]


@pytest.mark.parametrize("case", ["momentum, weight decay, last batch of 37", "convolutions"])
def test_two_runs_are_identical_to_the_last_bit(case: str, digits: Images) -> None:
    train, _, _, _, model, *_ = CASES[case]
    trial = make_trial(train, model, memory=Memory(micro_batch_size=30))
    torch.manual_seed(1)
    first = Run(trial, digits)
    torch.manual_seed(2)
    torch.rand(5)
    second = Run(trial, digits)
    assert without_times(first) == without_times(second)
    assert all(torch.equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))


def test_another_seed_is_another_run(digits: Images) -> None:
    train = Train(batch_size=64, lr=0.05, epochs=1)
    one, other = (Run(make_trial(train, seed=seed), digits) for seed in (0, 1))
    assert one.started.init_norm != other.started.init_norm
    assert one.records[0].test_loss != other.records[0].test_loss


def test_seeds_pair_trials_of_different_batch_sizes(small: Images) -> None:
    runs = [Run(make_trial(Train(batch_size=b, lr=0.05, epochs=1), seed=3), small) for b in (1, 50)]
    assert runs[0].started.init_norm == runs[1].started.init_norm


@pytest.mark.parametrize("micro_batch_size", [1, 7, 16, 63, 64, 1000])
def test_micro_batches_change_the_rounding_alone(micro_batch_size: int, digits: Images) -> None:
    train = Train(batch_size=64, lr=0.05, epochs=1)
    whole = Run(make_trial(train), digits)
    cut = Run(make_trial(train, memory=Memory(micro_batch_size=micro_batch_size)), digits)
    assert cut.started.micro_batch_size == min(micro_batch_size, 64)
    apart = naive_norm([a - b for a, b in zip(cut.weights, whole.weights, strict=True)])
    distance = whole.records[0].distance_from_init
    assert distance is not None
    assert apart < TOLERANCE * distance
    ours, theirs = Norms(cut.records[0].norms), Norms(whole.records[0].norms)
    assert ours.count == theirs.count == 23
    assert ours.mean == pytest.approx(theirs.mean, rel=TOLERANCE)


@pytest.mark.parametrize("evaluation_batch_size", [1, 7, 360, 100_000])
def test_the_evaluation_batch_changes_the_rounding_alone(
    evaluation_batch_size: int, digits: Images
) -> None:
    trial = make_trial(Train(batch_size=512, lr=0.05, epochs=1))
    plan = make_plan(trial, digits.train_size, threads=1)
    cut = Run(trial, digits, replace(plan, evaluation_batch_size=evaluation_batch_size))
    ours, theirs = cut.records[0], Run(trial, digits).records[0]
    assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-6)
    assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
    assert ours.norms == theirs.norms


def test_reporting_more_often_changes_no_figure(
    small: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(Train(batch_size=20, lr=0.01, epochs=3))
    seldom = Run(trial, small)
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)
    often = Run(trial, small)
    assert without_times(often) == without_times(seldom)
    progress = [e for e in often.events if isinstance(e, Progress)]
    assert [(e.epoch, e.steps, e.samples) for e in progress] == [
        *[(1, 1, 20), (1, 2, 40), (1, 3, 50)],
        *[(2, 4, 70), (2, 5, 90), (2, 6, 100)],
        *[(3, 7, 120), (3, 8, 140)],  # after the ninth comes the end
    ]
    statements = [e for e in often.events if isinstance(e, EpochsFinished)]
    assert [len(e.records) for e in statements] == [1, 1, 1]


# ---- other endings


@pytest.mark.parametrize(
    ("model", "reason", "epochs"),
    [
        (DEEP, "the gradient was not finite by step 2", 1),
        (SMALL_MLP, "the loss was not finite after epoch 2", 2),
    ],
    ids=["gradient", "loss"],
)
def test_a_training_that_diverges_keeps_its_epochs(
    model: Model, reason: str, epochs: int, digits: Images
) -> None:
    """The naive loop says after which epoch the figures are not finite any more."""
    trial = make_trial(Train(batch_size=1437, lr=1e10, epochs=6), model)
    run = Run(trial, digits)
    _, naive = naive_training(trial, digits, 3, sgd, constant(1e10))
    finite = [math.isfinite(e.test.loss) and math.isfinite(sum(e.norms)) for e in naive]
    assert finite == [True, False, False]
    assert (run.ended.status, run.ended.reason) == ("diverged", reason)
    assert [r.epoch for r in run.records] == list(range(1, epochs + 1))
    assert run.records[0].test_loss == pytest.approx(naive[0].test.loss, rel=1e-3)
    assert [r.test_loss for r in run.records[1:]] == [None] * (epochs - 1)


def test_a_training_that_diverges_within_an_epoch_ends_there(digits: Images) -> None:
    run = Run(make_trial(Train(batch_size=64, lr=100.0, epochs=4), DEEP), digits)
    assert run.ended.status == "diverged"
    assert run.ended.reason.startswith("the gradient was not finite by step ")
    assert run.records == []


@pytest.mark.parametrize(
    ("call", "steps", "epochs"), [(1, 0, []), (3, 2, []), (4, 3, [1]), (8, 7, [1, 2])]
)
def test_a_training_that_is_halted_keeps_its_epochs(
    call: int, steps: int, epochs: list[int], small: Images
) -> None:
    calls = itertools.count(1)
    trial = make_trial(Train(batch_size=20, lr=0.01, epochs=10))
    run = Run(trial, small, halted=lambda: next(calls) >= call)
    assert (run.ended.status, run.ended.reason) == ("stopped", "")
    assert run.training.at.steps == steps
    assert [r.epoch for r in run.records] == epochs
    ours, theirs = ([untimed(r) for r in of.records] for of in (run, Run(trial, small)))
    assert ours == theirs[: len(ours)]


# ---- figures


def test_what_is_stated_at_the_start(digits: Images) -> None:
    trial = make_trial(
        Train(batch_size=128, lr=0.1, epochs=3),
        seed=2,
        scaling=Scaling(rule="linear", base_batch_size=32, warmup_epochs=1),
        memory=Memory(micro_batch_size=50),
    )
    started = Run(trial, digits).started
    initial = naive_norm(list(build_model(SMALL_MLP, DIGITS, 2).parameters()))
    assert started.init_norm == pytest.approx(initial, rel=1e-6)
    assert replace(started, init_norm=0.0) == TrialStarted(
        trial="trial-s2",
        attempt=1,
        worker=0,
        device="cpu",
        batch_size=128,
        micro_batch_size=50,
        total_steps=36,
        steps_per_epoch=12,
        parameters=64 * 13 + 13 + 13 * 7 + 7 + 7 * 10 + 10,
        init_norm=0.0,
        lr=0.4,
    )


def test_first_and_last_statement(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=0.01, epochs=2)), small)
    kinds = [type(event).__name__ for event in run.events if not isinstance(event, Progress)]
    assert kinds[0] == "TrialStarted"
    assert kinds[-1] == "TrialEnded"
    assert kinds[1:-1] == ["Predicted", "EpochsFinished"]


@pytest.mark.parametrize("model", [SMALL_MLP, CNN], ids=["mlp", "cnn"])
def test_all_figures_of_an_epoch_are_of_its_last_weights(model: Model, digits: Images) -> None:
    trial = make_trial(Train(batch_size=64, lr=0.1, epochs=3), model, seed=5)
    run = Run(trial, digits)
    record, network = run.records[-1], run.flat.model
    part = digits.train_part
    train = naive_figures(network, digits.train[part], digits.train_labels[part])
    test = naive_figures(network, digits.test, digits.test_labels)
    assert (record.train_accuracy, record.test_accuracy) == (train.accuracy, test.accuracy)
    assert record.train_loss == pytest.approx(train.loss, rel=1e-6)
    assert record.test_loss == pytest.approx(test.loss, rel=1e-6)
    assert train.loss != test.loss
    start = list(build_model(model, DIGITS, 5).parameters())
    apart = naive_norm([a - b.detach() for a, b in zip(run.weights, start, strict=True)])
    assert record.distance_from_init == pytest.approx(apart, rel=1e-6)
    assert record.weight_norm == pytest.approx(naive_norm(run.weights), rel=1e-6)


def test_a_small_network_learns_the_digits(digits: Images) -> None:
    trial = make_trial(Train(batch_size=32, lr=0.1, epochs=15), Model(name="mlp", hidden=(64,)))
    last = Run(trial, digits).records[-1]
    assert last.test_accuracy > 0.94
    assert last.train_accuracy > 0.98


def test_warmup_in_the_records(small: Images) -> None:
    """Three steps an epoch, ten steps of warmup: the rate of an epoch is that of its last."""
    scaling = Scaling(warmup_epochs=10 / 3)
    run = Run(make_trial(Train(batch_size=20, lr=0.02, epochs=5), scaling=scaling), small)
    expected = [0.006, 0.012, 0.018, 0.02, 0.02]
    assert [r.lr for r in run.records] == pytest.approx(expected, rel=1e-12)


# ---- slices of gradient norms


def lengths(record: EpochRecord) -> list[int]:
    return [piece.count + piece.broken for piece in record.norms]


@pytest.mark.parametrize(
    ("budget", "batch_size", "expected"),
    [
        ({"epochs": 20}, 20, [[3]] * 20),  # 60 steps: at most 3
        ({"epochs": 10}, 20, [[1, 1, 1]] * 10),  # 30 steps: at most 1
        ({"epochs": 2}, 1, [[5] * 10] * 2),  # 100 steps: at most 5
        ({"steps": 120}, 1, [[6] * 8 + [2]] * 2 + [[6, 6, 6, 2]]),  # ragged at every end
        ({"steps": 7}, 20, [[1, 1, 1], [1, 1, 1], [1]]),
        ({"epochs": 50}, 50, [[1]] * 50),
    ],
)
def test_slices_of_norms(
    budget: dict[str, Any], batch_size: int, expected: list[list[int]], small: Images
) -> None:
    run = Run(make_trial(Train(batch_size=batch_size, lr=0.01, **budget)), small)
    assert [lengths(record) for record in run.records] == expected
    first_steps = [piece.first_step for record in run.records for piece in record.norms]
    assert first_steps == [0, *itertools.accumulate(itertools.chain(*expected))][:-1]


budgets = st.one_of(
    st.fixed_dictionaries({"epochs": st.integers(1, 12)}),
    st.fixed_dictionaries({"steps": st.integers(1, 90)}),
    st.fixed_dictionaries({"samples": st.integers(1, 700)}),
)


@settings(max_examples=25, deadline=None)
@given(budgets, st.integers(1, 60))
def test_slices_are_short_stay_within_epochs_and_hold_every_step(
    small: Images, budget: dict[str, int], batch_size: int
) -> None:
    train = msgspec.convert({"batch_size": batch_size, "lr": 0.01, **budget}, Train)
    run = Run(make_trial(train), small)
    total = run.started.total_steps
    assert total == run.records[-1].steps
    before = 0
    for record in run.records:
        assert [piece.first_step for piece in record.norms] == [
            before + done for done in itertools.accumulate([0, *lengths(record)[:-1]])
        ]
        assert before + sum(lengths(record)) == record.steps
        assert max(lengths(record)) <= max(1, total / 20)
        before = record.steps
    assert sum(sum(lengths(record)) for record in run.records) == total


def test_norms_are_in_the_bins_of_the_naive_loop(small: Images) -> None:
    """Bin i of 20 a decade, from 1e-10 on, with one bin below: 1 + 20·(log10 norm + 10)."""
    trial = make_trial(Train(batch_size=1, lr=0.01, epochs=1))
    record = Run(trial, small).records[0]
    _, naive = naive_training(trial, small, 50, sgd, constant(0.01))
    places = [20 * (math.log10(norm) + 10) for norm in naive[0].norms]
    assert min(abs(place - round(place)) for place in places) > 1e-4  # none on a border
    expected = Counter(1 + math.floor(place) for place in places)
    assert Norms(record.norms).bins == expected


def test_slices_of_a_budget_in_seconds_are_a_twentieth_of_it(
    digits: Images, a_second_a_step: Callable[[], bool]
) -> None:
    """A slice of sixty seconds has three steps."""
    run = Run(make_trial(Train(batch_size=20, lr=0.01, seconds=60)), digits, halted=a_second_a_step)
    (record,) = run.records
    assert lengths(record) == [3] * 20


# ---- the images and their order


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.integers(1, 10_000))
def test_an_epoch_sees_every_image_once(size: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(size, seed, epoch).tolist()) == list(range(size))


def test_every_seed_and_every_epoch_has_an_order_of_its_own() -> None:
    orders = {
        tuple(epoch_order(40, seed, epoch).tolist()) for seed in range(12) for epoch in range(1, 13)
    }
    assert len(orders) == 144


@pytest.mark.parametrize("epoch", [1, 2, 40])
def test_replicates_see_the_images_in_different_orders(epoch: int) -> None:
    assert not torch.equal(epoch_order(1437, 0, epoch), epoch_order(1437, 1, epoch))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_epochs_see_the_images_in_different_orders(seed: int) -> None:
    assert not torch.equal(epoch_order(1437, seed, 1), epoch_order(1437, seed, 2))


def test_with_replacement_images_are_drawn_independently() -> None:
    """Of N draws from N images 1/e are expected to miss any one of them."""
    drawn = epoch_order(20_000, 5, 1, replacement=True)
    assert len(drawn) == 20_000
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 20_000
    assert 1 - len(torch.unique(drawn)) / 20_000 == pytest.approx(math.exp(-1), abs=0.01)
    assert torch.equal(drawn, epoch_order(20_000, 5, 1, replacement=True))
    assert not torch.equal(drawn, epoch_order(20_000, 5, 2, replacement=True))


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = epoch_order(200, 3, 4)
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    epoch_order(77, 3, 4)
    again = epoch_order(200, 3, 4)
    assert torch.equal(first, again)
    assert torch.equal(torch.rand(3), expected)


def test_the_digits_as_tensors(digits: Images) -> None:
    assert digits.train.shape == (1437, 1, 8, 8)
    assert digits.test.shape == (360, 1, 8, 8)
    assert (digits.train.dtype, digits.train_labels.dtype) == (torch.float32, torch.int64)
    assert digits.train_size == 1437
    assert sorted(set(digits.test_labels.tolist())) == list(range(10))


@pytest.mark.parametrize(("train", "test", "part"), [(50, 20, 20), (20, 20, 20), (10, 20, 10)])
def test_the_train_figures_have_a_fixed_part_as_large_as_the_test_set(
    train: int, test: int, part: int, tmp_path: Path
) -> None:
    prepared = synthetic(tmp_path, train, test)
    chosen = load_images(prepared, CPU).train_part
    assert len(set(chosen.tolist())) == len(chosen) == part
    assert 0 <= int(chosen.min()) <= int(chosen.max()) < train
    torch.manual_seed(5)
    assert torch.equal(load_images(prepared, CPU).train_part, chosen)


# ---- evaluation


def cut(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for first in range(0, len(labels), size):
        yield images[first : first + size], labels[first : first + size]


@pytest.mark.parametrize("size", [1, 7, 20, 50])
def test_evaluation_equals_the_definition(size: int, small: Images) -> None:
    model = build_model(CNN, DIGITS, 1)
    found = evaluate_alone(FlatModel(model, CPU), cut(small.test, small.test_labels, size))
    with torch.no_grad():
        logits = model(small.test).double().numpy()
    labels = small.test_labels.numpy()
    exponentials = np.exp(logits)
    chances = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert found.loss == pytest.approx(-np.log(chances[np.arange(20), labels]).mean(), rel=1e-6)
    assert found.accuracy == pytest.approx((logits.argmax(axis=1) == labels).mean(), rel=1e-12)


def test_evaluation_leaves_gradients_alone_and_training_mode_on(small: Images) -> None:
    model = build_model(SMALL_MLP, DIGITS, 1)
    flat = FlatModel(model, CPU)
    set_gradients(model, small.train, small.train_labels, "mean")
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    evaluate_alone(flat, cut(small.test, small.test_labels, 7))
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.training

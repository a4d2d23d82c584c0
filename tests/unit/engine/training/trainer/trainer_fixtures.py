"""Fixtures for tests of the trainer, and a naive training loop."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn, optim

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.spec import Memory, Model, Scaling, Train, Trial
from batchscope.engine.training.batches import Images, epoch_order, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.evaluation import Evaluation
from tests.unit.training_fixtures import CPU, SMALL_MLP, naive_norm, set_gradients, synthetic

DIGITS = DATASETS["digits"]
CNN = Model(name="cnn", channels=(3, 5), hidden=(11,))


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
    """A clock that advances by one second each step, at its check for a halt."""
    now = 1000.0

    def step() -> bool:
        nonlocal now
        now += 1.0
        return False

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    return step


class NaiveEpoch(NamedTuple):
    steps: int
    samples: int
    lr: float
    train: Evaluation
    test: Evaluation
    weight_norm: float
    distance: float
    norms: list[float]


@torch.no_grad()
def naive_figures(model: nn.Module, images: Tensor, labels: Tensor) -> Evaluation:
    logits = model(images).double()
    chosen = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    right = (logits.argmax(1) == labels).double()
    return Evaluation(float(-chosen.mean()), float(right.mean()))


def naive_training(
    trial: Trial,
    images: Images,
    total_steps: int,
    make_optimizer: MakeOptimizer,
    rate: Rate,
) -> tuple[nn.Module, list[NaiveEpoch]]:
    """Train with separate parameters, whole batches, torch's optimizer, and a list a figure."""
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


class Case(NamedTuple):
    train: Train
    optimizer: MakeOptimizer
    total_steps: int
    rate: Rate
    model: Model = SMALL_MLP
    scaling: Scaling = Scaling()
    memory: Memory = Memory()
    seed: int = 0
    rounding: float = TOLERANCE


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
    # two pixels of a window may be so near to each other that rounding decides which is pooled:
    # with AVX2 that happens once in 200,000 windows,
    # and moves the gradient of that step by 6 %
    "convolutions": Case(
        Train(batch_size=64, lr=0.05, epochs=2),
        sgd,
        46,
        constant(0.05),
        model=CNN,
        seed=4,
        rounding=1e-2,
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


def cut(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for first in range(0, len(labels), size):
        yield images[first : first + size], labels[first : first + size]

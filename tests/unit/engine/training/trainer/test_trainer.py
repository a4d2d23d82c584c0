"""Real trainings of a few epochs, compared with an ordinary loop."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.spec import Train
from batchscope.engine.training.batches import Images, epoch_order
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import alone, unheard
from tests.known import known
from tests.unit.engine.training.trainer.trainer_fixtures import (
    CASES,
    CNN,
    TOLERANCE,
    Case,
    NaiveEpoch,
    a_second_a_step,
    constant,
    digits,
    naive_training,
    sgd,
    small,
)
from tests.unit.training_fixtures import Run, make_trial, naive_norm

__all__ = ["a_second_a_step", "digits", "small"]


def assert_close(
    run: Run,
    model: nn.Module,
    epochs: list[NaiveEpoch],
    images: Images,
    rounding: float = TOLERANCE,
) -> None:
    """Equal up to float32 rounding, which grows a little from step to step."""
    assert [(r.epoch, r.steps, r.samples) for r in run.records] == [
        (number, e.steps, e.samples) for number, e in enumerate(epochs, start=1)
    ]
    for record, naive in zip(run.records, epochs, strict=True):
        assert record.lr == pytest.approx(naive.lr, rel=1e-12)
        assert record.train_loss == pytest.approx(naive.train.loss, rel=rounding)
        assert record.test_loss == pytest.approx(naive.test.loss, rel=rounding)
        one_image = 1.01 / len(images.train_part)  # on the border between two classes
        assert record.train_accuracy == pytest.approx(naive.train.accuracy, abs=one_image)
        one_image = 1.01 / len(images.test)
        assert record.test_accuracy == pytest.approx(naive.test.accuracy, abs=one_image)
        assert record.weight_norm == pytest.approx(naive.weight_norm, rel=rounding)
        assert record.distance_from_init == pytest.approx(naive.distance, rel=rounding)
        norms = Norms(record.norms)
        assert norms.count == len(naive.norms)
        assert norms.mean == pytest.approx(np.mean(naive.norms), rel=rounding)
        if len(naive.norms) > 1:
            std = np.std(naive.norms, ddof=1)
            assert norms.std == pytest.approx(std, rel=10 * rounding)
    theirs = [p.detach() for p in model.parameters()]
    apart = naive_norm([a - b for a, b in zip(run.weights, theirs, strict=True)])
    assert apart < rounding * epochs[-1].distance


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_training_equals_the_ordinary_loop(case: Case, digits: Images) -> None:
    trial = make_trial(
        case.train, case.model, seed=case.seed, scaling=case.scaling, memory=case.memory
    )
    run = Run(trial, digits)
    model, epochs = naive_training(trial, digits, case.total_steps, case.optimizer, case.rate)
    assert (run.ended.status, run.ended.reason) == ("finished", "")
    assert run.started.total_steps == case.total_steps
    assert_close(run, model, epochs, digits, case.rounding)
    assert epochs[-1].distance > 1e-3


def near_ties(model: nn.Sequential, images: Tensor) -> Tensor:
    """Find images with a pooling window in which the two largest values differ only by rounding.

    Equal values are none: there the pixels are equal too, and so is the gradient of the weights.
    """
    tied = torch.zeros(len(images), dtype=torch.bool)
    x = images
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.MaxPool2d):
                windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
                first, second = windows.topk(2).values.unbind(-1)
                gap = (first - second) / first.abs().clamp_min(1e-3)
                tied |= ((gap > 1e-12) & (gap < 1e-5)).flatten(1).any(1)
            x = layer(x)
    return tied


@pytest.mark.parametrize("channels_last", [True, False])
def test_every_gradient_of_a_convolutional_training_matches_float64(
    digits: Images, channels_last: bool
) -> None:
    """Along the training in float64, except images with a near tie, which rounding changes."""
    model = build_model(CNN, DATASETS["digits"], 4)
    exact = copy.deepcopy(model).double()
    assert isinstance(exact, nn.Sequential)
    flat = FlatModel(model, torch.device("cpu"))
    passes, left_out = alone(flat, channels_last), 0
    for epoch in (1, 2):
        for batch in torch.split(epoch_order(digits.train_size, 4, epoch), 64):
            images, labels = digits.train[batch].double(), digits.train_labels[batch]
            tied = near_ties(exact, images)
            left_out += int(tied.sum())
            with torch.no_grad():
                for ours, theirs in zip(model.parameters(), exact.parameters(), strict=True):
                    ours.copy_(theirs)
            passes.accumulate(digits.samples, batch[~tied].unsqueeze(0), 64, True, unheard)
            loss = functional.cross_entropy(exact(images[~tied]), labels[~tied])
            gradients = torch.autograd.grad(loss, list(exact.parameters()))
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                assert parameter.grad is not None
                apart = (parameter.grad.double() - gradient).abs().max() / gradient.abs().max()
                assert apart < 1e-5
            with torch.no_grad():
                for parameter, gradient in zip(exact.parameters(), gradients, strict=True):
                    parameter.sub_(gradient, alpha=0.05)
    assert left_out < 0.01 * 2 * digits.train_size


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
    test, on_train = (
        [known(r.test_accuracy) for r in records],
        [known(r.train_accuracy) for r in records],
    )
    # One of the accuracies to come that the training images reach at another epoch.
    target = next(a for a in test if first_at(a, test) not in (1, first_at(a, on_train)))
    run = Run(make_trial(replace(train, target_accuracy=target)), digits)
    assert [known(r.test_accuracy) for r in run.records] == test[: first_at(target, test)]
    assert run.ended.status == "finished"
    assert run.ended.reason.endswith(f"test accuracy of {target:g}")
    assert run.started.total_steps == 30 * 23


def test_a_target_that_is_not_reached_leaves_the_budget(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=1e-6, epochs=4, target_accuracy=1.0)), small)
    assert (run.ended.status, run.ended.reason, len(run.records)) == ("finished", "", 4)

"""Slices of gradient norms, the order of the images, and evaluation."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.spec import Train
from batchscope.engine.training.batches import Images, epoch_order, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.engine.training.trainer.trainer_fixtures import (
    CNN,
    DIGITS,
    a_second_a_step,
    constant,
    cut,
    digits,
    naive_training,
    sgd,
    small,
)
from tests.unit.training_fixtures import (
    CPU,
    SMALL_MLP,
    Run,
    evaluate_alone,
    make_trial,
    set_gradients,
    synthetic,
)

__all__ = ["a_second_a_step", "digits", "small"]


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
    """Bins are 20 a decade, from 1e-10 on, with one bin below: 1 + 20·(log10 norm + 10)."""
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
    """A slice of a budget of 60 seconds has three steps of one second."""
    run = Run(make_trial(Train(batch_size=20, lr=0.01, seconds=60)), digits, halted=a_second_a_step)
    (record,) = run.records
    assert lengths(record) == [3] * 20


# ---- the images and their order


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.integers(1, 10_000))
def test_an_epoch_sees_every_image_once(size: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(size, seed, epoch).tolist()) == list(range(size))


def test_every_seed_and_every_epoch_has_a_different_order() -> None:
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


def test_evaluation_keeps_gradients_and_training_mode(small: Images) -> None:
    model = build_model(SMALL_MLP, DIGITS, 1)
    flat = FlatModel(model, CPU)
    set_gradients(model, small.train, small.train_labels, "mean")
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    evaluate_alone(flat, cut(small.test, small.test_labels, 7))
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.training

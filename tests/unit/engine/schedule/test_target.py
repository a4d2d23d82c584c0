"""A target that ends a training: checked on validation or test images, evenly spaced."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from batchscope.engine.analysis.tables import trial_row
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.metrics.rounding_variance import rounding_variance
from batchscope.engine.schedule import target
from batchscope.engine.spec import Train
from batchscope.engine.training.batches import Images, epoch_order, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.trainer.evaluation import Evaluation
from tests.known import known
from tests.unit.engine.findings_fixtures import Ended, configuration, record, sweep
from tests.unit.engine.grid_fixtures import refusal
from tests.unit.training_fixtures import (
    CPU,
    LINEAR,
    Run,
    make_trial,
    set_gradients,
    synthetic,
    untimed,
)

STEPS = 7
"""Batches of 6 in an epoch of 38 images."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Images of ten kinds, told apart after some steps; 38 to train on, 12 held out."""
    prepared = synthetic(tmp_path_factory.mktemp("small"), train=50, test=20)
    noise = load_images(prepared, CPU, 12)
    kinds = torch.randn((10, 1, 8, 8), generator=torch.Generator().manual_seed(5))
    return replace(
        noise,
        train=noise.train + kinds[noise.train_labels],
        test=noise.test + kinds[noise.test_labels],
    )


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), checks=st.integers(1, 400))
def test_checks_are_evenly_spaced_and_end_with_the_epoch(sizes: list[int], checks: int) -> None:
    """Also where the batch changes its size: each check is the first batch that reaches it."""
    ends = list(itertools.accumulate(sizes))
    images = ends[-1]
    found = [
        end
        for end, size in zip(ends, sizes, strict=True)
        if target.is_check(end, size, images, checks)
    ]
    due = [Fraction(k * images, checks) for k in range(1, checks + 1)]
    assert found == sorted({next(end for end in ends if end >= moment) for moment in due})
    assert found[-1] == images


def run(images: Images, **train: Any) -> Run:
    settings = Train(**{"batch_size": 6, "lr": 0.05, "epochs": 12, **train})
    return Run(make_trial(settings, LINEAR), images)


@pytest.fixture(scope="module")
def step_by_step(images: Images) -> list[Evaluation]:
    """Validation figures after every step, of an optimizer of torch's own."""
    assert images.trained is not None
    assert images.validation is not None
    model = build_model(LINEAR, DATASETS["digits"], 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    labels, found = images.train_labels[images.validation], []
    for epoch in range(1, 13):
        order = images.trained[epoch_order(38, 0, epoch)]
        for batch in torch.split(order, 6):
            set_gradients(model, images.train[batch], images.train_labels[batch], "mean")
            optimizer.step()
            with torch.no_grad():
                logits = model(images.train[images.validation])
            loss = float(functional.cross_entropy(logits, labels))
            found.append(Evaluation(loss, float((logits.argmax(1) == labels).float().mean())))
    return found


def due_steps(checks: int) -> set[int]:
    """Steps of twelve epochs of 38 images, in batches of 6, after which the target is checked."""
    within = {min(STEPS, math.ceil(k * 38 / checks / 6)) for k in range(1, checks + 1)}
    return {epoch * STEPS + step for epoch in range(12) for step in within}


def first_check(found: list[Evaluation], checks: int, good: Callable[[Evaluation], bool]) -> int:
    """The first check at which the figures are good, in steps."""
    return next(
        step
        for step, figures in enumerate(found, start=1)
        if step in due_steps(checks) and good(figures)
    )


@pytest.mark.parametrize("checks", [1, 3, 100])
def test_training_ends_at_the_first_check_that_reaches_the_target(
    images: Images, checks: int, step_by_step: list[Evaluation]
) -> None:
    expected = first_check(step_by_step, checks, lambda figures: known(figures.accuracy) >= 0.45)
    found = run(images, target_accuracy=0.45, target_checks=checks)
    last = found.records[-1]
    assert last.steps == expected
    assert (found.ended.status, found.ended.reason) == (
        "finished",
        "reached a validation accuracy of 0.45",
    )
    epochs, rest = divmod(expected, STEPS)
    assert last.samples == epochs * 38 + rest * 6
    assert last.epoch_samples == (rest * 6 or 38)
    assert sum(piece.count for piece in last.norms) == (rest or STEPS)
    plain = run(images, epochs=None, steps=expected)
    assert all(torch.equal(a, b) for a, b in zip(found.weights, plain.weights, strict=True))


def test_more_checks_never_end_training_later(images: Images) -> None:
    one, seven = (run(images, target_loss=1.9, target_checks=n) for n in (1, 7))
    assert seven.records[-1].steps < one.records[-1].steps
    assert one.records[-1].steps % STEPS == 0


def test_a_loss_as_the_target(images: Images, step_by_step: list[Evaluation]) -> None:
    expected = first_check(step_by_step, 100, lambda figures: figures.loss <= 1.8)
    found = run(images, target_loss=1.8, target_checks=100)
    assert found.records[-1].steps == expected
    assert found.ended.reason == "reached a validation loss of 1.8"


def test_without_a_split_the_test_set_is_used(images: Images) -> None:
    whole = Images(
        images.train, images.train_labels, images.test, images.test_labels, images.train_part
    )
    found = run(whole, target_accuracy=0.25, target_checks=2)
    assert found.ended.reason == "reached a test accuracy of 0.25"
    assert known(found.records[-1].test_accuracy) >= 0.25


def test_checks_do_not_change_the_training(images: Images) -> None:
    plain, checked = run(images), run(images, target_accuracy=1.0, target_checks=7)
    same = min(len(plain.records), len(checked.records))
    for one, other in zip(plain.records[:same], checked.records[:same], strict=True):
        assert _without_time(one) == _without_time(other)


def _without_time(of: EpochRecord) -> EpochRecord:
    return untimed(of)


# ---- what it took


def ended(status: Any = "finished", **figures: Any) -> Ended:
    first = record(0.5, epoch=1, steps=10, samples=80, seconds=2.0)
    last = record(0.5, epoch=2, steps=15, samples=120, seconds=1.5, **figures)
    return Ended(status=status, records=(first, last))


@pytest.mark.parametrize(
    ("train", "end", "expected"),
    [
        ({"target_accuracy": 0.8}, ended(validation_accuracy=0.8), (15, 120, 3.5)),
        ({"target_accuracy": 0.8}, ended(validation_accuracy=0.7), None),
        ({"target_accuracy": 0.5}, ended(), (15, 120, 3.5)),
        ({"target_accuracy": 0.5}, ended("diverged"), None),
        ({"target_loss": 0.4}, ended(validation_accuracy=0.1, validation_loss=0.4), (15, 120, 3.5)),
        ({"target_loss": 0.4}, ended(validation_accuracy=0.1, validation_loss=None), None),
        ({}, ended(), None),
    ],
)
def test_the_columns_of_the_target(train: Any, end: Ended, expected: Any) -> None:
    state = sweep([(configuration(8, seeds=1, **train), [end])])
    names = ("steps_to_target", "samples_to_target", "seconds_to_target")
    (trial,) = state.trials.values()
    row = trial_row(state, trial)
    assert tuple(row.get(name) for name in names) == (expected or (None, None, None))
    found = tuple(value_of(state, trial, name) for name in names)
    assert found == (expected or (None, None, None))


def test_the_steps_to_the_target_are_exact_to_one_check() -> None:
    of = configuration(8, seeds=1, target_accuracy=0.5, target_checks=5)
    state = sweep([(of, [ended()])])
    (trial,) = state.trials.values()
    known = [rounding_variance(state, trial, name, 15.0) for name in ("steps_to_target", "steps")]
    assert known == [pytest.approx(2**2 / 4)] * 2  # ten steps an epoch


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"target_accuracy": 0.9, "target_loss": 0.1}, "target_accuracy and target_loss"),
        ({"target_checks": 4}, "train.target_checks: needs train.target_accuracy or"),
    ],
)
def test_invalid_targets(train: dict[str, Any], told: str) -> None:
    assert told in refusal(train={"batch_size": 64, "lr": 0.1, "epochs": 2, **train})

"""Accumulated gradients compared with those of whole batches, and norms with histograms."""

import bisect
import copy
import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.journal.events import NormSlice
from batchscope.engine.metrics.norm_histogram import EDGES
from batchscope.engine.spec import Model
from batchscope.engine.training.instruments.grad_norms import norm_slice
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.training_fixtures import (
    CPU,
    accumulate,
    evaluate_alone,
    naive_norm,
    set_gradients,
    spoil,
)

SMALL = Dataset(
    name="made-up",
    title="",
    shape=(2, 5, 4),
    classes=3,
    train_size=40,
    test_size=0,
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    download_bytes=0,
)
FLOAT32_MAX = float(np.finfo(np.float32).max)

models = st.one_of(
    st.builds(
        lambda hidden: Model(name="mlp", hidden=tuple(hidden)),
        st.lists(st.integers(1, 9), max_size=2),
    ),
    st.builds(
        lambda channels, hidden: Model(name="cnn", channels=tuple(channels), hidden=tuple(hidden)),
        st.lists(st.integers(1, 4), min_size=1, max_size=2),
        st.lists(st.integers(1, 5), max_size=1),
    ),
)


def images_and_labels(seed: int, count: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, *SMALL.shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, SMALL.classes, (count,), generator=generator)


def relative_difference(flat: FlatModel, ordinary: nn.Module) -> float:
    pairs = list(zip(flat.model.parameters(), ordinary.parameters(), strict=True))
    ours = [mine.grad for mine, _ in pairs if mine.grad is not None]
    theirs = [other.grad for _, other in pairs if other.grad is not None]
    assert len(ours) == len(theirs) == len(pairs)
    apart = naive_norm([a - b for a, b in zip(ours, theirs, strict=True)])
    assert naive_norm(theirs) > 0
    return apart / naive_norm(theirs)


@settings(max_examples=80, deadline=None)
@given(
    model=models,
    batch_size=st.integers(1, 40),
    micro_batch_size=st.integers(1, 45),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 5),
)
@example(Model(name="mlp", hidden=(5,)), 10, 4, "mean", 0)  # 4 + 4 + 2
@example(Model(name="mlp", hidden=(5,)), 40, 39, "mean", 0)  # a last one of a single sample
@example(Model(name="mlp", hidden=(5,)), 1, 1, "sum", 0)
def test_accumulation_equals_the_whole_batch(
    model: Model,
    batch_size: int,
    micro_batch_size: int,
    reduction: Literal["mean", "sum"],
    seed: int,
) -> None:
    network = build_model(model, SMALL, seed).double()
    ordinary = copy.deepcopy(network)
    flat = FlatModel(network, CPU, torch.float64)
    images, labels = images_and_labels(seed)
    batch = torch.randperm(40, generator=torch.Generator().manual_seed(seed + 1))[:batch_size]

    spoil(flat)
    accumulate(flat, images, labels, batch, micro_batch_size, reduction == "mean")
    set_gradients(ordinary, images[batch], labels[batch], reduction)

    assert relative_difference(flat, ordinary) < 1e-10
    gradients = [parameter.grad for parameter in ordinary.parameters()]
    whole = naive_norm([gradient for gradient in gradients if gradient is not None])
    assert float(flat.norm()) == pytest.approx(whole, rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(model=models, size=st.integers(1, 45), count=st.integers(1, 40), seed=st.integers(0, 5))
def test_the_loss_of_micro_batches_is_that_of_the_batch(
    model: Model, size: int, count: int, seed: int
) -> None:
    flat = FlatModel(build_model(model, SMALL, seed).double(), CPU, torch.float64)
    images, labels = (part[:count] for part in images_and_labels(seed))
    pieces = zip(torch.split(images, size), torch.split(labels, size), strict=True)
    found = evaluate_alone(flat, pieces)
    chances = torch.log_softmax(flat.model(images), dim=1).detach().numpy()
    picked = chances[np.arange(count), labels.numpy()]
    assert found.loss == pytest.approx(-math.fsum(picked) / count, rel=1e-10)
    assert found.accuracy == (chances.argmax(axis=1) == labels.numpy()).mean()


def test_accumulation_equals_the_sum_over_single_samples() -> None:
    network = build_model(Model(name="mlp", hidden=(6,)), SMALL, 0).double()
    ordinary = copy.deepcopy(network)
    flat = FlatModel(network, CPU, torch.float64)
    images, labels = images_and_labels(3)
    batch = torch.tensor([7, 1, 30, 1, 12])  # one of them twice
    total = [torch.zeros_like(parameter) for parameter in ordinary.parameters()]
    for sample in batch:
        set_gradients(ordinary, images[sample : sample + 1], labels[sample : sample + 1], "sum")
        for running, parameter in zip(total, ordinary.parameters(), strict=True):
            assert parameter.grad is not None
            running += parameter.grad
    for scale, mean in ((1.0, False), (5.0, True)):
        for parameter, running in zip(ordinary.parameters(), total, strict=True):
            parameter.grad = running / scale
        accumulate(flat, images, labels, batch, 2, mean)
        assert relative_difference(flat, ordinary) < 1e-10


def test_accumulation_in_float32_equals_the_whole_batch_to_rounding() -> None:
    network = build_model(Model(name="cnn", channels=(4,), hidden=(9,)), SMALL, 0)
    ordinary = copy.deepcopy(network)
    flat = FlatModel(network, CPU)
    images, labels = images_and_labels(0)
    accumulate(flat, images.float(), labels, torch.arange(40), 7, True)
    set_gradients(ordinary, images.float(), labels, "mean")
    assert relative_difference(flat, ordinary) < 2e-6


def bin_of(value: float) -> int:
    """The bin with edges[i] <= value < edges[i + 1]."""
    return bisect.bisect_right(EDGES, value) - 1


def all_counts(piece: NormSlice) -> NDArray[np.int64]:
    counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
    counts[piece.first_bin : piece.first_bin + len(piece.counts)] = piece.counts
    return counts


norms32 = st.lists(
    st.one_of(
        st.floats(0, FLOAT32_MAX, width=32),
        st.floats(0.0009765625, 1024, width=32),
        st.sampled_from([0.0, 1.0, 10.0, 100.0, math.inf, math.nan]),
    ),
    max_size=50,
)


@settings(max_examples=150, deadline=None)
@given(norms32, st.integers(0, 10**9))
def test_a_slice_is_the_histogram_and_the_moments(values: list[float], first_step: int) -> None:
    norms = np.array(values, dtype=np.float32)
    finite = norms[np.isfinite(norms)].astype(np.float64)
    piece = norm_slice(first_step, norms)

    counts, _ = np.histogram(finite, np.array(EDGES))
    assert np.array_equal(all_counts(piece), counts)
    assert np.array_equal(
        counts, np.bincount([bin_of(value) for value in finite], minlength=len(counts))
    )
    assert piece.first_step == first_step
    assert (piece.count, piece.broken) == (len(finite), len(norms) - len(finite))
    if len(finite):
        assert piece.counts[0] > 0
        assert piece.counts[-1] > 0
        assert piece.mean == pytest.approx(np.mean(finite), rel=1e-12)
    if len(finite) > 1:
        squares = np.var(finite, ddof=1) * (len(finite) - 1)
        assert piece.squares == pytest.approx(squares, rel=1e-9, abs=1e-24 * piece.mean**2)


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (0.0, 0),
        (1e-38, 0),
        (9.9e-11, 0),
        (1.01e-10, 1),
        (0.999, 200),
        (1.0, 201),
        (1.12, 201),
        (1.13, 202),
        (10.0, 221),
        (9.99e9, 400),
        (1e10, 401),
        (FLOAT32_MAX, 401),
    ],
)
def test_the_bin_of_one_norm(value: float, index: int) -> None:
    piece = norm_slice(4, np.array([value], dtype=np.float32))
    exact = float(np.float32(value))
    assert piece == NormSlice(4, 1, exact, 0.0, index, (1,))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_norms_that_are_not_finite_are_counted_separately(broken: float) -> None:
    alone = norm_slice(9, np.array([broken, broken], dtype=np.float32))
    assert alone == NormSlice(9, 0, 0.0, 0.0, 0, (), 2)
    mixed = norm_slice(9, np.array([2.0, broken, 4.0], dtype=np.float32))
    assert (mixed.count, mixed.mean, mixed.squares, mixed.broken) == (2, 3.0, 2.0, 1)


def test_moments_of_large_norms_that_lie_close_together() -> None:
    """The sum of squares minus the square of the sum would lose all digits here."""
    piece = norm_slice(0, np.array([1e9, 1e9 + 0.5, 1e9 + 1]))
    assert (piece.mean, piece.squares) == (1e9 + 0.5, 0.5)

"""The noise of a finite training set: exact expectations over every batch that can be drawn."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from batchscope.engine.metrics.noise_scale import noise_scale, train_signal
from batchscope.engine.planning.plan import make_plan, shares
from batchscope.engine.spec import Memory, Model, Train
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.data_parallel.leader import mean_square
from batchscope.engine.training.instruments.instrument import BatchParts
from batchscope.engine.training.instruments.noise_scale import (
    PartsAccumulator,
    estimates,
    first_part,
    two_parts,
)
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.engine.training.instruments.test_noise_scale import single_gradients
from tests.unit.training_fixtures import CPU, make_trial, synthetic

N = 6
SINGLE = np.random.default_rng(5).normal(size=(N, 3)) @ np.diag([2.0, 1.0, 0.5]) + 0.4
"""The gradients of the images of a tiny training set, (N, P)."""
TRUE = SINGLE.mean(0)
SIGNAL = float(TRUE @ TRUE)
TRACE = float(((SINGLE - TRUE) ** 2).sum() / (N - 1))
Found = Callable[[np.ndarray], Tensor]


def in_micro_batches(size: int) -> Found:
    """Estimate from micro-batches, as gradient accumulation does."""

    def found(samples: np.ndarray) -> Tensor:
        scale = 1.0 / len(samples)
        buffer = torch.zeros(samples.shape[1], dtype=torch.float64)
        parts = PartsAccumulator(buffer, scale)
        for part in torch.split(torch.from_numpy(samples), size):
            buffer += part.sum(0) * scale
            parts.add(len(part))
        return estimates(parts.parts(), buffer, scale, len(samples))

    return found


def in_two_parts(samples: np.ndarray) -> Tensor:
    """Estimate from two parts, as a batch at once does."""
    size, scale = first_part(len(samples)), 1.0 / len(samples)
    first, whole = torch.from_numpy(samples[:size].sum(0)), torch.from_numpy(samples.mean(0))
    return estimates(two_parts(first, whole, size, len(samples), scale), whole, scale, len(samples))


def in_shares(workers: int) -> Found:
    """Estimate from the workers' shares of a batch; a worker may have no image."""

    def found(samples: np.ndarray) -> Tensor:
        sizes = shares(len(samples), workers)
        parts = np.split(samples, np.cumsum(sizes)[:-1])
        squares = sum(mean_square(torch.from_numpy(part.sum(0))[None], len(part)) for part in parts)
        assert isinstance(squares, Tensor)
        count = sum(size > 0 for size in sizes)
        whole = torch.from_numpy(samples.mean(0))[None]
        return estimates(BatchParts(squares, count), whole, 1 / len(samples), len(samples))[0]

    return found


WAYS: dict[str, Found] = {
    "micro-batches of one": in_micro_batches(1),
    "unequal micro-batches": in_micro_batches(2),
    "two parts": in_two_parts,
    "two workers": in_shares(2),
    "three workers": in_shares(3),
}


def means(batches: Iterator[tuple[int, ...]], way: Found) -> tuple[float, float]:
    """Return the means of tr(Σ) and of the signal over equally likely batches."""
    every = torch.stack([way(SINGLE[list(batch)]) for batch in batches])
    trace, signal, _ = every.mean(0).tolist()
    return trace, signal


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch_size", [3, 4, 5, N])
def test_every_batch_of_every_order(way: str, batch_size: int) -> None:
    """The batches of an epoch, its smaller last one and the whole set included."""
    for start in range(0, N, batch_size):
        count = min(batch_size, N - start)
        if count == 1 or (way == "unequal micro-batches" and count == 2):
            continue  # it has no parts
        batches = (order[start : start + count] for order in permutations(range(N)))
        trace, signal = means(batches, WAYS[way])
        assert trace == pytest.approx(TRACE, rel=1e-10)
        assert signal == pytest.approx(SIGNAL - TRACE / N, rel=1e-10, abs=1e-10)
        assert train_signal(trace, signal, N) == pytest.approx(SIGNAL, rel=1e-10)


@pytest.mark.parametrize("way", WAYS)
def test_every_draw_with_replacement(way: str) -> None:
    trace, signal = means(product(range(N), repeat=4), WAYS[way])
    assert trace == pytest.approx(TRACE * (N - 1) / N, rel=1e-10)
    assert signal == pytest.approx(SIGNAL, rel=1e-10)
    assert train_signal(trace, signal, math.inf) == signal


def test_the_two_noise_scales() -> None:
    """1/φ of the training set is 1/φ of the batches + 1/N; beyond N only the former is known."""
    for trace, signal in ((6.0, 2.0), (6.0, 0.01), (6.0, 1e9)):
        one, other = noise_scale(trace, signal), noise_scale(trace, train_signal(trace, signal, 80))
        assert one is not None
        assert other == pytest.approx(1 / (1 / one + 1 / 80))
    near = [noise_scale(phi, 1 - phi / 80) for phi in (8.0, 72.0, 79.2, 80.0, 100.0)]
    assert near[:3] == pytest.approx([80 / 9, 720, 7920])
    assert near[3:] == [None, None]
    assert noise_scale(100.0, train_signal(100.0, 1 - 100 / 80, 80)) == pytest.approx(100)


@pytest.mark.parametrize("micro", [4, 3])
def test_a_network_with_images_held_out(tmp_path: Path, micro: int) -> None:
    """N is the number of images left for training: every order of five of them."""
    images = load_images(synthetic(tmp_path, train=7, test=4), CPU, validation=2)
    trial = make_trial(
        Train(batch_size=4, lr=0.1, epochs=1),
        Model(name="mlp", hidden=(3,)),
        memory=Memory(micro_batch_size=micro),
    )
    stepper = Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)
    single = single_gradients(stepper.stack.members[0], replace(images, trained=None))
    assert images.trained is not None
    left = single[images.trained]
    size, true = len(left), left.mean(0)
    assert size == 5
    trace, signal = float(((left - true) ** 2).sum() / (size - 1)), float(true @ true)
    found = []
    for order in permutations(range(size), 4):
        batch = images.of_training(torch.tensor(order))[None]
        parts = stepper.gradient(batch, parts=True)
        assert parts is not None
        found.append(estimates(parts, stepper.stack.gradient, 0.25, 4)[0])
    mean_trace, mean_signal, _ = torch.stack(found).mean(0).tolist()
    assert mean_trace == pytest.approx(trace, rel=1e-4)
    assert train_signal(mean_trace, mean_signal, size) == pytest.approx(signal, rel=1e-4)
    assert abs(mean_signal - signal) > 0.1 * signal, "the correction matters here"

"""The gradient noise scale: unbiased for closed forms, and without side effects."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.noise_scale import no_noise_scale, noise_scale
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Memory, Model, Settings, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.instrument import BatchParts, Step
from batchscope.engine.training.instruments.noise_scale import (
    NoiseScale,
    PartsAccumulator,
    estimates,
    first_part,
    two_parts,
)
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import CPU, Run, make_trial, synthetic

TINY = Model(name="mlp", hidden=(5,))
DIMENSIONS = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("noise"), train=150, test=40), CPU)


def step_on(samples: int, scale: float, parts: Any) -> Step:
    return Step(1, 0, samples, samples, 0.1, scale, parts=parts)


def parts_of(squares: float) -> BatchParts:
    return BatchParts(torch.tensor(squares, dtype=torch.float64), 2)


def gaussian(draw: np.random.Generator, batch_size: int) -> np.ndarray:
    """Gradients (B, P) of single samples, whose mean and covariance are known."""
    spread = np.linspace(0.2, 1.4, DIMENSIONS)
    return np.full(DIMENSIONS, 0.3) + draw.normal(size=(batch_size, DIMENSIONS)) * spread


TRACE = float((np.linspace(0.2, 1.4, DIMENSIONS) ** 2).sum())
SIGNAL = DIMENSIONS * 0.3**2


@pytest.mark.parametrize(
    ("batch_size", "micro"),
    [(2, None), (3, None), (64, None), (256, None), (8, 1), (12, 5), (64, 32), (100, 30), (7, 6)],
)
def test_estimates_are_unbiased_for_known_distributions(batch_size: int, micro: int | None) -> None:
    draw, found = np.random.default_rng(7), []
    for _ in range(6000):
        samples = torch.from_numpy(gaussian(draw, batch_size))
        gradient, scale = samples.sum(0) / batch_size, 1.0 / batch_size
        if micro is None:
            size = first_part(batch_size)
            parts_of = two_parts(samples[:size].sum(0), gradient, size, batch_size, scale)
            found.append(estimates(parts_of, gradient, scale, batch_size))
            continue
        buffer = torch.zeros(DIMENSIONS, dtype=torch.float64)
        parts = PartsAccumulator(buffer, scale)
        for part in torch.split(samples, micro):
            buffer += part.sum(0) * scale
            parts.add(len(part))
        found.append(estimates(parts.parts(), buffer, scale, batch_size))
    each = torch.stack(found).numpy()
    trace, signal, count = each.mean(0)
    error = each.std(0) / math.sqrt(len(each))
    assert count == 1.0
    assert abs(trace - TRACE) < 4 * error[0]
    assert abs(signal - SIGNAL) < 4 * error[1]
    assert trace == pytest.approx(TRACE, rel=0.05)
    assert trace / signal == pytest.approx(TRACE / SIGNAL, rel=0.05 if batch_size > 3 else 0.2)


@pytest.mark.parametrize(("batch_size", "micro"), [(8, 4), (8, 3), (16, 4), (64, 32), (64, 24)])
def test_the_noise_scale_of_a_linear_model_is_within_five_percent(
    batch_size: int, micro: int
) -> None:
    """y = x·w* + ε, x standard normal in P dimensions, squared loss at w* + d.

    A sample's gradient is x (x·d − ε), so G = d and, by the fourth moments of a normal variable,
    tr(Σ) = (P + 2)|d|² + P σ² − |d|².
    """
    draw, away, sigma, draws = np.random.default_rng(11), np.array([1.0, -1.5, 0.5]), 0.5, 2_500
    dimensions, signal = len(away), float((away**2).sum())
    trace = (dimensions + 2) * signal + dimensions * sigma**2 - signal
    found = np.zeros(3)
    for _ in range(draws):
        x = draw.normal(size=(batch_size, dimensions))
        single = torch.from_numpy(
            x * (x @ away - draw.normal(0, sigma, batch_size))[:, None] / batch_size
        )
        buffer = torch.zeros(dimensions, dtype=torch.float64)
        parts = PartsAccumulator(buffer, 1.0 / batch_size)
        for part in torch.split(single, micro):
            buffer += part.sum(0)
            parts.add(len(part))
        found += estimates(parts.parts(), buffer, 1.0 / batch_size, batch_size).numpy()
    assert found[0] / draws == pytest.approx(trace, rel=0.05)
    assert found[1] / draws == pytest.approx(signal, rel=0.05)
    assert found[0] / found[1] == pytest.approx(trace / signal, rel=0.05)


@given(st.integers(2, 12), st.integers(1, 12), st.booleans(), st.integers(0, 1 << 30))
def test_parts_equal_a_naive_computation(
    batch_size: int, micro: int, mean: bool, seed: int
) -> None:
    micro = min(micro, batch_size - 1)
    draw = np.random.default_rng(seed)
    samples = gaussian(draw, batch_size)
    scale = 1.0 / batch_size if mean else 1.0
    split = [samples[at : at + micro] for at in range(0, batch_size, micro)]
    p = sum(len(part) * np.sum(part.mean(0) ** 2) for part in split) / batch_size
    q = np.sum(samples.mean(0) ** 2)
    trace = batch_size * (p - q) / (len(split) - 1)
    buffer = torch.zeros(DIMENSIONS, dtype=torch.float64)
    parts = PartsAccumulator(buffer, scale)
    for part in split:
        buffer += torch.from_numpy(part).sum(0) * scale
        parts.add(len(part))
    found = estimates(parts.parts(), buffer, scale, batch_size).tolist()
    assert found == pytest.approx([trace, q - trace / batch_size, 1.0], rel=1e-9, abs=1e-9)
    if len(split) == 2:
        first, whole = torch.from_numpy(split[0]).sum(0), buffer.clone()
        again = two_parts(first, whole, micro, batch_size, scale)
        assert estimates(again, whole, scale, batch_size).tolist() == pytest.approx(
            found, rel=1e-9, abs=1e-9
        )


def single_gradients(flat: FlatModel, images: Images) -> Tensor:
    """Return the gradient of every single image, shape (N, P)."""
    found = []
    for at in range(images.train_size):
        flat.gradient.zero_()
        logits = flat.logits(images.train[at : at + 1])
        functional.cross_entropy(logits, images.train_labels[at : at + 1]).backward()  # type: ignore[no-untyped-call]
        found.append(flat.gradient.double().clone())
    return torch.stack(found)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("batch_size", "micro"), [(2, 2), (9, 9), (32, 8), (40, 16)])
def test_the_noise_of_a_network_is_that_of_its_single_gradients(
    images: Images, batch_size: int, micro: int, reduction: str
) -> None:
    settings = Settings(
        data=Data(name="digits"),
        model=TINY,
        train=Train(batch_size=batch_size, lr=0.1, epochs=1, loss_reduction=reduction),  # type: ignore[arg-type]
    )
    trial = Trial(id="t", configuration="t", seed=0, settings=settings)
    stepper = Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)
    stepper.micro_batch_size = micro
    single = single_gradients(stepper.stack.members[0], images)
    true = single.mean(0)
    trace = float(((single - true) ** 2).sum(1).mean())
    signal = float((true**2).sum())
    random = torch.Generator().manual_seed(3)
    draws = 1500
    noise = NoiseScale(stepper.stack.gradient, possible=True)
    scale = 1.0 if reduction == "sum" else 1.0 / batch_size
    for _ in range(draws):
        batch = torch.randint(images.train_size, (1, batch_size), generator=random)
        noise.before_step(step_on(batch_size, scale, stepper.gradient(batch, parts=True)))
    found_trace, found_signal, count = noise.of_replicate(0)
    assert count == draws
    assert found_trace == pytest.approx(trace, rel=0.05)
    assert found_signal == pytest.approx(signal, rel=0.05, abs=4 * trace / batch_size / 38)


@pytest.mark.parametrize("micro", [16, 5])
def test_the_noise_scale_does_not_change_the_training(
    images: Images, micro: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Train(batch_size=16, lr=0.1, epochs=3, optimizer="momentum")
    trial = make_trial(train, TINY, memory=Memory(micro_batch_size=micro))
    with_it = Run(trial, images)
    monkeypatch.setattr(NoiseScale, "needs_gradient", lambda *_: False)
    without = Run(trial, images)

    def figures(run: Run) -> list[dict[str, object]]:
        names = [name for name in EpochRecord.__struct_fields__ if "noise" not in name]
        return [
            {
                name: getattr(r, name)
                for name in names
                if name not in ("seconds", "warm_up_seconds", "peak_memory_bytes")
            }
            for r in run.records
        ]

    assert figures(with_it) == figures(without)
    assert all(record.noise_scale is None for record in without.records)
    assert [record.noise_draws for record in with_it.records] == [1, 0, 0]  # at steps 1, 129, …
    assert with_it.records[0].noise_trace is not None


def test_cases_without_a_noise_scale(images: Images) -> None:
    for train, model, said in (
        (Train(batch_size=1, lr=0.1, epochs=1), TINY, "one image"),
        (
            Train(batch_size=50, lr=0.1, epochs=1),
            Model(name="mlp", hidden=(5,), batch_norm=True),
            "batch norm",
        ),
    ):
        trial = make_trial(train, model)
        assert said in no_noise_scale(trial.settings)
        records = Run(trial, images).records
        assert [(r.noise_draws, r.noise_scale, r.noise_trace) for r in records] == [(0, None, None)]
    assert no_noise_scale(make_trial(Train(batch_size=2, lr=0.1, epochs=1), TINY).settings) == ""


@pytest.mark.parametrize(
    ("trace", "signal", "expected"),
    [(6.0, 2.0, 3.0), (6.0, 0.0, None), (6.0, -1.0, None), (math.nan, 1.0, None), (0.0, 1.0, 0.0)],
)
def test_a_meaningless_ratio_is_none(trace: float, signal: float, expected: float | None) -> None:
    assert noise_scale(trace, signal) == expected


def test_sums_survive_a_checkpoint(tmp_path: Path) -> None:
    one, other = (NoiseScale(torch.ones(1, 3), possible=True) for _ in range(2))
    one.before_step(step_on(2, 1.0, parts_of(12.0)))
    torch.save(one.state(), tmp_path / "state")
    other.load(torch.load(tmp_path / "state", weights_only=True))
    other.before_step(step_on(2, 1.0, parts_of(14.0)))
    # tr(Σ) is 2 (6 − ¾) and 2 (7 − ¾), |G|² is ¾ less a half of it
    assert other.of_replicate(0) == pytest.approx((11.5, 0.75 - 5.75, 2))
    other.end_epoch()
    assert other.of_replicate(0) == (0.0, 0.0, 0)


def test_estimates_from_two_parts() -> None:
    gradient = torch.ones(3, dtype=torch.float64)
    found = estimates(parts_of(12.0), gradient, 1.0, 2)
    assert found.tolist() == pytest.approx([2 * (6.0 - 0.75), 0.75 - (6.0 - 0.75), 1.0])

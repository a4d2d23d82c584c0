"""Every optimizer on one flat buffer, compared with torch's on separate parameters."""

import copy
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn, optim

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.schedule.lr_scaling import Rates
from batchscope.engine.spec import Model, Train
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.optimizers import build_optimizer
from tests.unit.training_fixtures import CPU, Optimizer

STEPS = 30
LR, MOMENTUM, BETAS, EPSILON = 0.03, 0.7, (0.8, 0.99), 1e-6
RATES = Rates(LR, BETAS, EPSILON)
MODELS = [
    Model(name="mlp", hidden=(13, 7)),
    Model(name="cnn", channels=(3, 5), hidden=(11,)),
]
DECAYS = [0.0, 0.02]

Make = Callable[[Iterable[nn.Parameter], float], optim.Optimizer]

TORCH: dict[Optimizer, Make] = {
    "sgd": lambda p, decay: optim.SGD(p, lr=LR, weight_decay=decay),
    "momentum": lambda p, decay: optim.SGD(p, lr=LR, momentum=MOMENTUM, weight_decay=decay),
    "nesterov": lambda p, decay: optim.SGD(
        p, lr=LR, momentum=MOMENTUM, weight_decay=decay, nesterov=True
    ),
    "adam": lambda p, decay: optim.Adam(p, lr=LR, betas=BETAS, eps=EPSILON, weight_decay=decay),
    "adamw": lambda p, decay: optim.AdamW(p, lr=LR, betas=BETAS, eps=EPSILON, weight_decay=decay),
    "adagrad": lambda p, decay: optim.Adagrad(p, lr=LR, weight_decay=decay),
    "rmsprop": lambda p, decay: optim.RMSprop(p, lr=LR, weight_decay=decay),
}


def settings(name: Optimizer, decay: float) -> Train:
    return Train(
        batch_size=8, lr=LR, epochs=1, optimizer=name, momentum=MOMENTUM, weight_decay=decay
    )


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", TORCH)
def test_equals_torch_on_separate_parameters(name: Optimizer, decay: float, model: Model) -> None:
    ordinary = build_model(model, DATASETS["digits"], seed=3)
    flat = FlatModel(copy.deepcopy(ordinary), CPU)
    assert isinstance(flat.weights, nn.Parameter)
    ours = build_optimizer([flat.weights], settings(name, decay), RATES)
    theirs = TORCH[name](ordinary.parameters(), decay)
    start = [parameter.detach().clone() for parameter in ordinary.parameters()]
    generator = torch.Generator().manual_seed(1)
    for step in range(1, STEPS + 1):
        flat.gradient.zero_()
        for mine, other in zip(flat.model.parameters(), ordinary.parameters(), strict=True):
            # Of sizes that differ between elements and between steps, some of them zero.
            gradient = torch.randn(other.shape, generator=generator) / step
            gradient[torch.rand(other.shape, generator=generator) < 0.1] = 0.0
            assert mine.grad is not None
            mine.grad.copy_(gradient)
            other.grad = gradient
        ours.step()
        theirs.step()
    for mine, other, first in zip(
        flat.model.parameters(), ordinary.parameters(), start, strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
        assert not torch.equal(mine.detach(), first)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plain_sgd_has_the_bits_of_torchs(decay: float, dtype: torch.dtype) -> None:
    """Also when the learning rate changes, and after a checkpoint."""
    generator = torch.Generator().manual_seed(2)
    ours, theirs = (nn.Parameter(torch.ones(3, 50, dtype=dtype)) for _ in range(2))
    optimizer = build_optimizer([ours], settings("sgd", decay), RATES)
    reference = optim.SGD([theirs], lr=LR, weight_decay=decay)
    for step in range(STEPS):
        gradient = torch.randn(ours.shape, generator=generator, dtype=dtype)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        if step == 10:
            for group in (*optimizer.param_groups, *reference.param_groups):
                group["lr"] = 0.7 * LR
        if step == 20:
            kept = optimizer.state_dict()
            optimizer = build_optimizer([ours], settings("sgd", decay), RATES)
            optimizer.load_state_dict(kept)
        optimizer.step()
        reference.step()
        assert torch.equal(ours, theirs)
        assert torch.equal(ours.grad, gradient), "the norms of a step are taken of it"


class Naive:
    """The textbook formulas, in numpy and float64."""

    def __init__(self, name: Optimizer, weights: NDArray[np.float64], decay: float) -> None:
        self.name, self.weights, self.decay, self.steps = name, weights.copy(), decay, 0
        self.first, self.second = np.zeros_like(weights), np.zeros_like(weights)

    def step(self, gradient: NDArray[np.float64]) -> None:
        self.steps += 1
        if self.name == "adamw":
            self.weights *= 1 - LR * self.decay
        else:
            gradient = gradient + self.decay * self.weights
        self.weights -= LR * self.direction(gradient)

    def direction(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        match self.name:
            case "sgd":
                return g
            case "momentum" | "nesterov":
                self.first = MOMENTUM * self.first + g
                return self.first if self.name == "momentum" else g + MOMENTUM * self.first
            case "adam" | "adamw":
                one, two = BETAS
                self.first = one * self.first + (1 - one) * g
                self.second = two * self.second + (1 - two) * g**2
                mean = self.first / (1 - one**self.steps)
                return mean / (np.sqrt(self.second / (1 - two**self.steps)) + EPSILON)
            case "adagrad":
                self.second = self.second + g**2
                return g / (np.sqrt(self.second) + 1e-10)
            case "rmsprop":
                self.second = 0.99 * self.second + 0.01 * g**2
                return g / (np.sqrt(self.second) + 1e-8)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", TORCH)
def test_rows_are_updated_by_the_formula(name: Optimizer, decay: float) -> None:
    """For several replicates, in float64, so that a wrong formula cannot look like rounding."""
    draw = np.random.default_rng(5)
    start = draw.normal(size=(3, 20))
    weights = nn.Parameter(torch.from_numpy(start.copy()))
    ours, naive = (
        build_optimizer([weights], settings(name, decay), RATES),
        Naive(name, start, decay),
    )
    for step in range(1, STEPS + 1):
        gradient = draw.normal(size=start.shape) / step
        weights.grad = torch.from_numpy(gradient.copy())
        ours.step()
        naive.step(gradient)
    np.testing.assert_allclose(weights.detach().numpy(), naive.weights, rtol=1e-10)
    assert not np.allclose(naive.weights, start, rtol=1e-3)


def one_weight(name: Optimizer, decay: float, gradients: list[float]) -> float:
    """Return the values of a weight that starts at 2."""
    weights = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = build_optimizer([weights], settings(name, decay), RATES)
    for gradient in gradients:
        weights.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return float(weights.detach())


def test_sgd_by_hand() -> None:
    """Without momentum, whatever the `momentum` setting is."""
    first = 2 - LR * (1.5 + 0.02 * 2)
    assert one_weight("sgd", 0.02, [1.5, -1]) == pytest.approx(first - LR * (-1 + 0.02 * first))


def test_momentum_by_hand() -> None:
    expected = 2 - LR * 1.5 - LR * (MOMENTUM * 1.5 - 1)
    assert one_weight("momentum", 0.0, [1.5, -1]) == pytest.approx(expected, rel=1e-12)


def test_nesterov_by_hand() -> None:
    first = 1.5 + MOMENTUM * 1.5
    second = -1 + MOMENTUM * (MOMENTUM * 1.5 - 1)
    expected = 2 - LR * first - LR * second
    assert one_weight("nesterov", 0.0, [1.5, -1]) == pytest.approx(expected, rel=1e-12)


def test_adam_decays_in_the_gradient_and_adamw_in_the_weight() -> None:
    """The first step of Adam is lr · g / (|g| + ε)."""
    decayed = 1.5 + 0.02 * 2
    adam = 2 - LR * decayed / (decayed + EPSILON)
    adamw = 2 * (1 - LR * 0.02) - LR * 1.5 / (1.5 + EPSILON)
    assert one_weight("adam", 0.02, [1.5]) == pytest.approx(adam, rel=1e-12)
    assert one_weight("adamw", 0.02, [1.5]) == pytest.approx(adamw, rel=1e-12)

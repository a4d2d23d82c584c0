"""Every optimizer on the one flat buffer, against torch's on ordinary, separate parameters."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn, optim

from engine.datasets import DATASETS
from engine.rates import Rates
from engine.spec import Model, Train
from engine.training.flat import FlatModel
from engine.training.models import build_model
from engine.training.optim import build_optimizer
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
    ours = build_optimizer(flat.weights, settings(name, decay), RATES)
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


def one_weight(name: Optimizer, decay: float, gradients: list[float]) -> float:
    """What becomes of a weight that starts at 2."""
    weights = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = build_optimizer(weights, settings(name, decay), RATES)
    for gradient in gradients:
        weights.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return float(weights.detach())


def test_sgd_by_hand() -> None:
    """Without momentum, whatever the setting of that name says."""
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

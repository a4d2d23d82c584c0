"""Optimizers on the one buffer: all of them work elementwise."""

from typing import Any, Protocol

import torch
from torch import nn, optim

from batchscope.engine.schedule.lr_scaling import Rates
from batchscope.engine.spec import Train


class Optimizer(Protocol):
    """What the training asks of an optimizer, as torch's have it."""

    param_groups: list[dict[str, Any]]

    @property
    def state(self) -> Any:
        """What it keeps of each parameter."""

    def step(self) -> Any:
        """Move the weights by their gradient."""

    def state_dict(self) -> dict[str, Any]:
        """What it keeps, to be loaded again."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was kept."""


class PlainSGD:
    """w ← w − lr (g + λ w): torch's arithmetic, without what its classes do around a step.

    That costs 20 µs, as much as the arithmetic of a network of 100,000 weights.
    """

    def __init__(self, weights: nn.Parameter, lr: float, weight_decay: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]
        self.state: dict[Any, Any] = {}
        self._weights, self._decay = weights, weight_decay

    def step(self) -> None:
        """Move the weights by their gradient."""
        weights, gradient = self._weights.detach(), self._weights.grad
        assert gradient is not None
        if self._decay:
            gradient = gradient.add(weights, alpha=self._decay)
        weights.add_(gradient, alpha=-self.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, which is all there is."""
        return {"lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was kept."""
        self.param_groups[0]["lr"] = state_dict["lr"]


def build_optimizer(weights: nn.Parameter, train: Train, rates: Rates) -> Optimizer:
    """The optimizer a preset names; `momentum` is used by momentum and nesterov.

    Fused where torch has it: one pass over the buffers instead of up to ten.
    """
    decay, lr = train.weight_decay, rates.lr
    match train.optimizer:
        case "sgd":
            return PlainSGD(weights, lr, decay)
        case "momentum" | "nesterov":
            return optim.SGD(
                [weights],
                lr=lr,
                momentum=train.momentum,
                weight_decay=decay,
                nesterov=train.optimizer == "nesterov",
                fused=True,
            )
        case "adam":
            return optim.Adam(
                [weights],
                lr=lr,
                betas=rates.betas,
                eps=rates.epsilon,
                weight_decay=decay,
                fused=True,
            )
        case "adamw":
            return optim.AdamW(
                [weights],
                lr=lr,
                betas=rates.betas,
                eps=rates.epsilon,
                weight_decay=decay,
                fused=True,
            )
        case "adagrad":
            fused = weights.device.type == "cpu" or None  # on a GPU torch has none
            return optim.Adagrad([weights], lr=lr, weight_decay=decay, fused=fused)
        case "rmsprop":
            return optim.RMSprop([weights], lr=lr, weight_decay=decay)


def load_optimizers() -> None:
    """Have torch load what its optimizers import when the first is made: over a second's worth.

    It is torch's compiler, which `PlainSGD` does without, as does a worker that trains with it.
    """
    optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)

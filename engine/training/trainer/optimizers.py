"""Builds the optimizer of a stack; all work elementwise, so one buffer holds all replicates."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn, optim

from batchscope.engine.schedule.lr_scaling import Rates
from batchscope.engine.spec import Train
from batchscope.engine.task import Task
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.tasks.own_optimizer import groups_of, refuse_optimizer
from batchscope.engine.training.trainer.fused_optimizers import FusedAdam, FusedAdamW, FusedSGD


class Optimizer(Protocol):
    """The methods of torch's optimizers that the training uses."""

    param_groups: list[dict[str, Any]]

    @property
    def state(self) -> Any:
        """Return the state of each parameter, such as its momentum."""

    def step(self) -> Any:
        """Update the weights with their gradient."""

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, for a checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned."""


class PlainSGD:
    """SGD without momentum, w ← w − lr (g + λ w), with the same bits as torch's.

    It leaves out the bookkeeping of torch's class, which costs 20 µs a step: as much as the
    arithmetic of a network of 100,000 weights.

    Args:
        weights: parameters with their gradients in `grad`; those without one are not updated.
        lr: learning rate.
        weight_decay: λ.
    """

    def __init__(self, weights: Sequence[nn.Parameter], lr: float, weight_decay: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]
        self.state: dict[Any, Any] = {}
        self._weights, self._decay = weights, weight_decay

    def step(self) -> None:
        """Update the weights with their gradient."""
        lr = self.param_groups[0]["lr"]
        weights, gradients = list[Tensor](), list[Tensor]()
        for each in self._weights:
            gradient = each.grad
            if gradient is not None:
                weights.append(each)
                gradients.append(gradient)
        if not weights:
            return
        with torch.no_grad():
            if self._decay:
                gradients = list(torch._foreach_add(gradients, weights, alpha=self._decay))
            torch._foreach_add_(weights, gradients, alpha=-lr)

    def state_dict(self) -> dict[str, Any]:
        """Return the learning rate, which is the whole state."""
        return {"lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned."""
        self.param_groups[0]["lr"] = state_dict["lr"]


def task_optimizer(task: Task, flat: FlatModel, train: Train, rates: Rates) -> Optimizer:
    """Return the optimizer of a task: its own, or the one that the preset names.

    It holds every parameter by itself, so that one without a gradient in a step is not updated, as
    in torch.

    Raises:
        TaskProblem: its own cannot be used.
    """
    trained = flat.trained()
    if task.optimizer is None and task.parameters is None:
        return _with_momentum(build_optimizer(trained, train, rates))
    groups = groups_of(task, flat.model, trained)
    if task.optimizer is None:
        return _with_momentum(build_optimizer(groups, train, rates))
    made: Optimizer = task.optimizer(groups, rates.lr)
    refuse_optimizer(task, made, trained)
    return made


def _with_momentum(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer in which the momentum of every parameter begins at 0.

    torch's fused step begins all of them at once, with the first gradient of any, and fails where a
    parameter gets its first gradient later. From 0 the first value is the gradient too.
    """
    for group in optimizer.param_groups:
        for each in group["params"] if group.get("momentum") and group.get("fused") else ():
            if each.requires_grad:
                optimizer.state[each]["momentum_buffer"] = torch.zeros_like(each)
    return optimizer


def build_optimizer(weights: Sequence[Any], train: Train, rates: Rates) -> Optimizer:
    """Return the optimizer that a preset names.

    It is fused where torch offers that: one pass over the buffers instead of up to ten.

    Args:
        weights: parameter (R, P) with its gradient in `grad`, or parameters, or groups of them.
        train: the `[train]` table; `momentum` is used by momentum and nesterov only.
        rates: learning rate, betas and epsilon after scaling with the batch size.
    """
    decay, lr = train.weight_decay, rates.lr
    match train.optimizer:
        case "sgd" if all(isinstance(each, nn.Parameter) for each in weights):
            return PlainSGD(weights, lr, decay)
        case "sgd":
            return optim.SGD(weights, lr=lr, weight_decay=decay, fused=True)
        case "momentum" | "nesterov":
            return FusedSGD(
                weights,
                lr=lr,
                momentum=train.momentum,
                weight_decay=decay,
                nesterov=train.optimizer == "nesterov",
                fused=True,
            )
        case "adam":
            return FusedAdam(
                weights,
                lr=lr,
                betas=rates.betas,
                eps=rates.epsilon,
                weight_decay=decay,
                fused=True,
            )
        case "adamw":
            return FusedAdamW(
                weights,
                lr=lr,
                betas=rates.betas,
                eps=rates.epsilon,
                weight_decay=decay,
                fused=True,
            )
        case "adagrad":
            first = weights[0]["params"][0] if isinstance(weights[0], dict) else weights[0]
            fused = first.device.type == "cpu" or None  # torch has no fused Adagrad for GPUs
            return optim.Adagrad(weights, lr=lr, weight_decay=decay, fused=fused)
        case "rmsprop":
            return optim.RMSprop(weights, lr=lr, weight_decay=decay)


def load_optimizers() -> None:
    """Import what torch's optimizers import when the first one is built.

    That is torch's compiler, and takes over a second. A worker that trains with `PlainSGD` does not
    need it.
    """
    optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)

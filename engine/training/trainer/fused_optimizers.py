"""torch's SGD with momentum, Adam and AdamW on a CPU, without the bookkeeping of each step.

torch groups the parameters by device and type, looks for hooks and tells its profiler and compiler
in every step. For a network of six parameters that takes 60 to 110 µs, half of the time of the
step. Here the same kernels are called at once, so the bits and the states are torch's own.

Whatever differs from the usual case takes torch's step: another device, parameters of several
types, and the first step of a parameter, which makes its state.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

Closure = Callable[[], Any] | None
Columns = tuple[list[Tensor], ...]


class FusedSGD(optim.SGD):
    """SGD with momentum; see `torch.optim.SGD`."""

    def step(self, closure: Closure = None) -> Any:
        """Update the weights with their gradient."""
        ready = _all_columns(self, ("momentum_buffer",)) if closure is None else None
        if ready is None:
            return super().step(closure)
        with torch.no_grad():
            for group, (weights, gradients, momenta) in zip(self.param_groups, ready, strict=True):
                if not weights:
                    continue
                torch._fused_sgd_(
                    weights,
                    gradients,
                    momenta,
                    weight_decay=group["weight_decay"],
                    momentum=group["momentum"],
                    lr=group["lr"],
                    dampening=group["dampening"],
                    nesterov=group["nesterov"],
                    maximize=group["maximize"],
                    is_first_step=False,
                )
        return None

    step.hooked = True  # type: ignore[attr-defined]  # torch wraps every other step


def _adam_step(optimizer: optim.Adam, kernel: Callable[..., None]) -> bool:
    """Take a step of Adam or AdamW by a kernel; return whether that was possible."""
    ready = _all_columns(optimizer, ("exp_avg", "exp_avg_sq", "step"))
    if ready is None:
        return False
    with torch.no_grad():
        for group, (weights, gradients, means, squares, steps) in zip(
            optimizer.param_groups, ready, strict=True
        ):
            if not weights:
                continue
            torch._foreach_add_(steps, 1)
            beta1, beta2 = group["betas"]
            kernel(
                weights,
                gradients,
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=group["maximize"],
            )
    return True


class FusedAdam(optim.Adam):
    """Adam; see `torch.optim.Adam`."""

    def step(self, closure: Closure = None) -> Any:
        """Update the weights with their gradient."""
        if closure is None and _adam_step(self, torch._fused_adam_):
            return None
        return super().step(closure)

    step.hooked = True  # type: ignore[attr-defined]


class FusedAdamW(optim.AdamW):
    """AdamW; see `torch.optim.AdamW`."""

    def step(self, closure: Closure = None) -> Any:
        """Update the weights with their gradient."""
        if closure is None and _adam_step(self, torch._fused_adamw_):
            return None
        return super().step(closure)

    step.hooked = True  # type: ignore[attr-defined]


def _all_columns(optimizer: optim.Optimizer, names: tuple[str, ...]) -> list[Columns] | None:
    """Return the columns of every group; None if torch has to take the step."""
    found = list[Columns]()
    kind: tuple[torch.device, torch.dtype] | None = None
    for group in optimizer.param_groups:
        columns = _columns(group, optimizer.state, names)
        if columns is None:
            return None
        for weight in columns[0]:
            here = (weight.device, weight.dtype)
            if kind is None and weight.is_cpu:
                kind = here
            if here != kind:
                return None
        found.append(columns)
    return found


def _columns(group: dict[str, Any], states: Any, names: tuple[str, ...]) -> Columns | None:
    """Return the parameters that have a gradient, the gradients, and their states of each name.

    None if a state is missing.
    """
    columns = tuple(list[Tensor]() for _ in range(2 + len(names)))
    weights, gradients, *kept = columns
    for weight in group["params"]:
        gradient = weight.grad
        if gradient is None:
            continue
        weights.append(weight)
        gradients.append(gradient)
        state = states.get(weight)
        for name, column in zip(names, kept, strict=True):
            value = state.get(name) if state else None
            if value is None:
                return None
            column.append(value)
    return columns

"""Sums losses over the parts of a batch, and computes the gradient of their weighted mean.

The gradient of Σ sᵢ ÷ Σ wᵢ is Σ ∇sᵢ ÷ Σ wᵢ if no weight depends on the parameters. So the parts add
up their gradients, and the division comes once, at the end. No part waits for the device.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from batchscope.engine.errors import shown
from batchscope.engine.task import Batch, Summed, TaskProblem

Weight = float | Tensor
"""A weight: a number, or a 0-d float64 tensor, which may be on a GPU."""
HALF = (torch.float16, torch.bfloat16)


class WeightedSum(NamedTuple):
    """A sum over samples and its weight, both 0-d and float64 on the device of the sum."""

    total: Tensor
    weight: Tensor

    @property
    def mean(self) -> float:
        """Return the sum divided by the weight; NaN if there is no weight."""
        return float(self.total / self.weight)


def summed(name: str, of: Summed, model: nn.Module, batch: Batch) -> tuple[Tensor, Weight]:
    """Call a loss or a metric and check what it returns.

    Args:
        name: `loss` or the metric's name, for messages.
        of: the function.
        model: its first argument.
        batch: its second argument.

    Returns:
        The sum with its graph, a 0-d tensor, and the weight without one.

    Raises:
        TaskProblem: it returned something else than a sum and a weight.
    """
    returned = of(model, batch)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TaskProblem(
            f"{name}: expected (sum of losses, weight), got {shown(returned)}; return for example "
            "cross_entropy(…, reduction='sum'), len(batch)"
        )
    total, weight = returned
    if not isinstance(total, Tensor):
        total = torch.as_tensor(total, dtype=torch.float64)
    for what, value in (("sum", total), ("weight", weight)):
        if isinstance(value, Tensor) and value.ndim:
            shape = tuple(value.shape)
            raise TaskProblem(f"{name}: the {what} must be one number, but has the shape {shape}")
    if total.dtype in HALF:
        raise TaskProblem(
            f"{name}: the sum is {total.dtype}, in which a sum over a batch loses digits; write "
            ".float() before the sum"
        )
    return total, weight.detach().double() if isinstance(weight, Tensor) else float(weight)


def accumulate(
    loss: Summed,
    model: nn.Module,
    batches: Iterable[Batch],
    heard: Callable[[WeightedSum], None] | None = None,
) -> WeightedSum:
    """Add the gradients of the summed losses of all parts to the parameters' `grad`.

    The caller clears the gradients before, and divides them by the weight afterwards.

    Args:
        loss: returns the sum of the losses of a part, and its weight.
        model: the network.
        batches: the parts of one batch.
        heard: called after each part with its sum and weight.

    Returns:
        The sums over all parts.

    Raises:
        TaskProblem: the loss returned something else, or does not depend on the parameters.
    """
    parts = list[WeightedSum]()
    for batch in batches:
        total, weight = summed("loss", loss, model, batch)
        if not total.requires_grad:
            raise TaskProblem(
                "loss: the sum does not depend on the weights of the model (it has no gradient)"
            )
        total.backward()  # type: ignore[no-untyped-call]
        parts.append(WeightedSum(total.detach().double(), as_tensor(weight, total)))
        if heard:
            heard(parts[-1])
    totals, weights = zip(*parts, strict=True)
    return WeightedSum(torch.stack(totals).sum(), torch.stack(weights).sum())


def evaluated(name: str, of: Summed, model: nn.Module, batches: Iterable[Batch]) -> WeightedSum:
    """Return the sums of a loss or a metric over batches, without gradients.

    Raises:
        TaskProblem: it returned something else than a sum and a weight.
    """
    with torch.no_grad():
        parts = [summed(name, of, model, batch) for batch in batches]
    return WeightedSum(
        torch.stack([total.double() for total, _ in parts]).sum(),
        torch.stack([as_tensor(weight, total) for total, weight in parts]).sum(),
    )


def as_tensor(weight: Weight, beside: Tensor) -> Tensor:
    """Return a weight as a 0-d float64 tensor on the device of another tensor."""
    return torch.as_tensor(weight, dtype=torch.float64, device=beside.device)

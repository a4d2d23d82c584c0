"""Sums losses over the parts of a batch, and computes the gradient of their weighted mean.

The gradient of Σ sᵢ ÷ Σ wᵢ is Σ ∇sᵢ ÷ Σ wᵢ if no weight depends on the parameters. So the parts add
up their gradients, and the division comes once, at the end. No part waits for the device.
"""

import math
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from batchscope.engine.errors import shown, words_of
from batchscope.engine.task import Batch, Summed, TaskProblem
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.fork_guard import leave_if_child
from batchscope.engine.training.tasks.watchdog import began

Weight = float | Tensor
"""A weight: a number, or a 0-d float64 tensor, which may be on a GPU."""
NO_GRADIENT = "does not require grad"
"""What torch says where a gradient is asked for that was not recorded."""
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

    Where gradients are off, but the function needs them for itself, as for a penalty on a gradient,
    it is called with gradients.

    Args:
        name: `loss` or the metric's name, for messages.
        of: the function.
        model: its first argument.
        batch: its second argument.

    Returns:
        The sum with its graph, a 0-d tensor, and the weight without one. A negative weight on a
        GPU is NaN.

    Raises:
        TaskProblem: it returned something else than a sum and a weight; the message names the file
            and the line of the function.
    """
    began()
    try:
        returned = of(model, batch)
    except RuntimeError as error:
        if torch.is_grad_enabled() or NO_GRADIENT not in words_of(error):
            raise
        with torch.enable_grad():
            returned = of(model, batch)
    leave_if_child()
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TaskProblem(_not_two(name, of, returned))
    total, weight = returned
    if not isinstance(total, Tensor):
        total = torch.as_tensor(_number(name, of, "sum", total), dtype=torch.float64)
    elif total.ndim or total.dtype in HALF or total.is_meta or total.is_complex():
        raise TaskProblem(_bad_sum(name, of, total))
    elif total.requires_grad and not torch.is_grad_enabled():
        total = total.detach()
    if not isinstance(weight, Tensor):
        return total, checked(name, of, _number(name, of, "weight", weight))
    if weight.ndim or weight.is_meta or weight.is_complex():
        raise TaskProblem(_bad_sum(name, of, weight, "weight"))
    if weight.requires_grad and torch.is_grad_enabled():
        raise TaskProblem(
            f"{named(name, of)}: the weight depends on the weights of the model, and its gradient "
            "would be left out; write .detach() behind it, or make it a part of the sum"
        )
    weight = weight.detach().double()
    if weight.is_cpu:
        checked(name, of, float(weight))
        return total, weight
    # a look would wait for the GPU: NaN stays in every sum, which is looked at once, at its end
    return total, torch.where((weight >= 0.0) & (weight < math.inf), weight, torch.nan)


def _not_two(name: str, of: Summed, returned: object) -> str:
    what = f"{named(name, of)}: expected (sum, weight), got {shown(returned)}"
    if isinstance(returned, Generator):
        return f"{what}; write `return` in the place of `yield`"
    if name == "loss":
        return (
            f"{what}; return the sum of the losses and their number, for example "
            "cross_entropy(…, reduction='sum'), len(labels)"
        )
    return (
        f"{what}; a metric is a ratio of sums over the samples, such as the number of right "
        "answers and the number of all; what is none, such as F1 or AUC, is not possible yet"
    )


def _bad_sum(name: str, of: Summed, value: Tensor, what: str = "sum") -> str:
    """Return why a sum or a weight cannot be used, and what to do."""
    begin = f"{named(name, of)}: the {what}"
    if value.ndim:
        shape = tuple(value.shape)
        return f"{begin} must be one number, but has the shape {shape}; add it up with .sum()"
    if value.is_meta:
        return f"{begin} is on the device 'meta', where nothing is computed"
    if value.is_complex():
        return f"{begin} must be a real number, but is {value.dtype}"
    return (
        f"{begin} is {value.dtype}, in which a sum over a batch loses digits; write .float() "
        f"before the {what}"
    )


def _number(name: str, of: Summed, what: str, value: object) -> float:
    try:
        if isinstance(value, str | bytes):  # which `float` reads
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise TaskProblem(
            f"{named(name, of)}: the {what} must be a number, but is {shown(value)}"
        ) from None


def checked(name: str, of: Summed, weight: float) -> float:
    """Return a weight, or a sum of weights, that can be divided by, or 0.

    On a GPU, NaN stands for a weight that cannot be, too; see `summed`.

    Raises:
        TaskProblem: it is negative, infinite or not a number.
    """
    if not 0.0 <= weight < math.inf:
        what = "nan, infinite or negative" if math.isnan(weight) else f"{weight:g}"
        must = "be finite" if weight == math.inf else "not be negative"
        raise TaskProblem(f"{named(name, of)}: the weight of a batch is {what}; it must {must}")
    return weight


def constant(loss: Summed) -> str:
    """Return that a sum has no gradient; where it has no weight either, it may be a constant."""
    return (
        f"{named('loss', loss)}: the sum does not depend on the weights of the model (it has no "
        "gradient)"
    )


def untouched(loss: Summed) -> str:
    """Return that no weight of the model got a gradient, and what to do."""
    return (
        f"{named('loss', loss)}: no weight of the model that it was given got a gradient; use its "
        "argument `model`, not a model from elsewhere"
    )


def touched(loss: Summed) -> str:
    """Return that a loss has computed gradients itself, and what to do."""
    return (
        f"{named('loss', loss)}: it changes the gradients of the model (.backward()); return the "
        "sum, whose gradient is taken here, and use torch.autograd.grad for others"
    )


def cleared(loss: Summed) -> str:
    """Return that the gradients of a batch were lost between its parts, and what to do."""
    return (
        f"{named('loss', loss)}: the gradients were cleared or replaced (zero_grad); a loss must "
        "leave them alone"
    )


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
    parts, grads = list[WeightedSum](), list[tuple[nn.Parameter, Tensor]]()
    for batch in batches:
        before = [(each, each.grad) for each in model.parameters()]
        total, weight = summed("loss", loss, model, batch)
        if any(grad is None and each.grad is not None for each, grad in before):
            raise TaskProblem(touched(loss))
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        elif float(weight) != 0.0:
            raise TaskProblem(constant(loss))
        parts.append(WeightedSum(total.detach().double(), as_tensor(weight, total)))
        if heard:
            heard(parts[-1])
        if any(each.grad is not grad for each, grad in grads):
            raise TaskProblem(cleared(loss))
        grads = [(each, each.grad) for each in model.parameters() if each.grad is not None]
    totals, weights = zip(*parts, strict=True)
    found = WeightedSum(torch.stack(totals).sum(), torch.stack(weights).sum())
    if not grads and float(found.weight) != 0.0:
        raise TaskProblem(untouched(loss))
    return found


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

"""One contiguous buffer for a model's weights and another for its gradients.

The model's parameters become views into these buffers, so that the norm, the distance, clearing and
the optimizer's update are one operation each. Every parameter starts at a multiple of 64 bytes. The
gaps hold zeros, and stay zero under every optimizer here.

The buffers may be rows of larger ones that hold several models (`engine.training.model.stack`).
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from batchscope.engine.errors import MachineProblem
from batchscope.engine.spec import Precision
from batchscope.engine.task import Summed
from batchscope.engine.training.tasks.accepted_model import cast
from batchscope.engine.training.trained_parameters import trained

ALIGNMENT = 16  # elements: 64 bytes of float32


class FlatModel:
    """A model on a device, with parameters and gradients that are views into two buffers.

    Attributes:
        model: the network.
        weights: shape (P,). A leaf parameter with `gradient` as its `grad`, unless it is a row.
        gradient: shape (P,).
        parameters: number of weights, without the gaps.

    Raises:
        MachineProblem: the device does not support the precision.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        precision: Precision = "fp32",
        rows: tuple[Tensor, Tensor] | None = None,
        objective: Summed | None = None,
    ) -> None:
        """Move a model to a device and its parameters into buffers.

        Args:
            model: the network; it is changed in place.
            device: where to put it.
            dtype: of weights and gradients.
            precision: `bf16` runs the passes under autocast.
            rows: weights and gradient to use, each (P,); without them new buffers are made.
            objective: the loss of a task, a sum and a weight; None for cross-entropy of images.
        """
        if precision == "bf16" and not has_bf16(device):
            raise MachineProblem(f"{device} does not support bf16: choose train.precision = 'fp32'")
        self._bf16, self.objective = precision == "bf16", objective
        self.model = model.to(device=device)
        if objective is None or dtype != torch.float32:  # a task's own buffers stay as they are
            cast(self.model, dtype)
        parameters = trained(self.model)
        if rows is None:
            length = flat_length(parameters)
            weights = nn.Parameter(torch.zeros(length, device=device, dtype=dtype))
            weights.grad = torch.zeros(length, device=device, dtype=dtype)
            rows = weights, weights.grad
        self.weights, self.gradient = rows
        self.parameters = sum(parameter.numel() for parameter in parameters)
        flat = self.weights.detach()
        for parameter, window in zip(parameters, windows(parameters), strict=True):
            flat[window].copy_(parameter.detach().reshape(-1))
            parameter.data = flat[window].view_as(parameter)
            parameter.grad = self.gradient[window].view_as(parameter)

    def trained(self) -> list[nn.Parameter]:
        """Return the parameters that are trained: views into `weights`."""
        return trained(self.model)

    @property
    def exact(self) -> bool:
        """Whether everything is computed in the precision of the weights."""
        return not self._bf16

    def logits(self, images: Tensor) -> Tensor:
        """Compute the output (B, classes) in the precision; return it in float32 or wider."""
        with self.cast(images.device.type):
            logits: Tensor = self.model(images)
        return logits.float() if self._bf16 else logits

    def norm(self) -> Tensor:
        """Return the L2 norm of the gradient, a scalar on the device."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        return norm

    def copy_weights(self) -> Tensor:
        """Return a copy of the weights, shape (P,)."""
        return self.weights.detach().clone()

    def cast(self, kind: str) -> AbstractContextManager[object]:
        """Return the context in which the passes run on a kind of device."""
        return torch.autocast(kind, torch.bfloat16) if self._bf16 else nullcontext()


def windows(parameters: Iterable[Tensor]) -> Iterator[slice]:
    """Yield the slice of each parameter in the buffers, in their order."""
    start = 0
    for parameter in parameters:
        yield slice(start, start + parameter.numel())
        start += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT


def flat_length(parameters: Iterable[Tensor]) -> int:
    """Return P, the number of elements of a buffer for these parameters, gaps included."""
    return sum(-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters)


def has_bf16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16; every CPU does, most of them slowly."""
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

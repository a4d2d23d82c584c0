"""One contiguous buffer for a model's weights and another for its gradients.

The model's parameters become views into them, so that norm, distance, clearing and the
optimizer's update are one operation each. Every parameter starts at a multiple of 64 bytes;
the gaps hold zeros and stay zero under every optimizer here.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from engine.problems import MachineProblem
from engine.spec import Precision

ALIGNMENT = 16  # elements: 64 bytes of float32


class FlatModel:
    """A model on a device whose parameters and gradients are views into two buffers.

    Attributes:
        model: the network.
        weights: shape (P,), a leaf parameter whose `grad` is `gradient`.
        gradient: shape (P,).
        parameters: number of true weights, gaps left out.

    Raises:
        MachineProblem: the device has no such precision.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        precision: Precision = "fp32",
    ) -> None:
        if precision == "bf16" and not has_bf16(device):
            raise MachineProblem(f"{device} has no bf16: choose train.precision = 'fp32'")
        self._bf16 = precision == "bf16"
        self.model = model.to(device=device, dtype=dtype)
        parameters = list(self.model.parameters())
        starts, length = [], 0
        for parameter in parameters:
            starts.append(length)
            length += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        self.weights = nn.Parameter(torch.zeros(length, device=device, dtype=dtype))
        self.gradient = torch.zeros(length, device=device, dtype=dtype)
        self.weights.grad = self.gradient
        self.parameters = sum(parameter.numel() for parameter in parameters)
        flat = self.weights.detach()
        for parameter, start in zip(parameters, starts, strict=True):
            window = slice(start, start + parameter.numel())
            flat[window].copy_(parameter.detach().reshape(-1))
            parameter.data = flat[window].view_as(parameter)
            parameter.grad = self.gradient[window].view_as(parameter)

    def logits(self, images: Tensor) -> Tensor:
        """The network's output (B, classes) in the precision of the plan, never below float32."""
        with self._cast(images.device.type):
            logits: Tensor = self.model(images)
        return logits.float() if self._bf16 else logits

    def norm(self) -> Tensor:
        """L2 norm of the gradient, a scalar on the device."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        return norm

    def copy_weights(self) -> Tensor:
        """A copy of the weights, shape (P,)."""
        return self.weights.detach().clone()

    def _cast(self, kind: str) -> AbstractContextManager[object]:
        return torch.autocast(kind, torch.bfloat16) if self._bf16 else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; every CPU does, most of them slowly."""
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

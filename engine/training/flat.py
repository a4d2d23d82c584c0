"""One contiguous buffer for a model's weights and another for its gradients.

The model's parameters become views into them, so that norm, distance, clearing and the
optimizer's update are one operation each. Every parameter starts at a multiple of 64 bytes;
the gaps hold zeros and stay zero under every optimizer here.
"""

import torch
from torch import Tensor, nn

ALIGNMENT = 16  # elements: 64 bytes of float32


class FlatModel:
    """A model on a device whose parameters and gradients are views into two buffers.

    Attributes:
        model: the network.
        weights: shape (P,), a leaf parameter whose `grad` is `gradient`.
        gradient: shape (P,).
        parameters: number of true weights, gaps left out.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
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

    def norm(self) -> Tensor:
        """L2 norm of the gradient, a scalar on the device."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        return norm

    def copy_weights(self) -> Tensor:
        """A copy of the weights, shape (P,)."""
        return self.weights.detach().clone()

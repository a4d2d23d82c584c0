"""The interface of layers with hand-written forward and backward passes."""

from typing import Protocol

import torch
from torch import Tensor

NOTHING = torch.empty(0)
Window = tuple[Tensor, Tensor]
"""A parameter of all R replicates and its gradient: views of shape (R, ...) into the buffers."""


class Layer(Protocol):
    """One layer of all R replicates at once."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the output; in training also keep what `backward` needs."""

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Compute the gradient of the parameters, and return that of the input.

        Args:
            d: gradient of the output.
            needed: whether the gradient of the input is used; if not, anything may be returned.
            write: whether to overwrite the gradient of the parameters instead of adding to it.
        """


def put(gradient: Tensor, contribution: Tensor, write: bool) -> None:
    """Overwrite the gradient of a parameter if `write`, otherwise add to it."""
    contribution = contribution.view_as(gradient)
    if write:
        gradient.copy_(contribution)
    else:
        gradient.add_(contribution)

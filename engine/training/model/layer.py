"""What all layers that are written out have in common."""

from typing import Protocol

import torch
from torch import Tensor

NOTHING = torch.empty(0)
Window = tuple[Tensor, Tensor]
"""A parameter of all replicates and its gradient, each of shape (R, ...)."""


class Layer(Protocol):
    """One layer of all replicates."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Its output; in training it keeps what `backward` needs."""

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """From the gradient of the output, that of the input; nothing of use unless `needed`.

        `write` where the gradient of its parameters holds nothing yet.
        """


def put(gradient: Tensor, contribution: Tensor, write: bool) -> None:
    """Write a contribution into the gradient of a parameter, or add it."""
    contribution = contribution.view_as(gradient)
    if write:
        gradient.copy_(contribution)
    else:
        gradient.add_(contribution)

"""Residual blocks and the mean over the image, forward and backward, for R replicates at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from batchscope.engine.training.model.layer import Layer


class ResidualLayer:
    """The sum of a body and a shortcut; a shortcut without layers is the identity.

    The first layers of both must not change their input in place, because both read it.
    """

    def __init__(self, body: Sequence[Layer], shortcut: Sequence[Layer]) -> None:
        self._body, self._shortcut = body, shortcut

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the sum, of the shape of the body's output."""
        y, aside = x, x
        for layer in self._body:
            y = layer.forward(y, training)
        for layer in self._shortcut:
            aside = layer.forward(aside, training)
        return y + aside

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient of the input."""
        before = _back(self._body, d, needed, write)
        aside = _back(self._shortcut, d, needed, write)
        return before + aside if needed else d


class GlobalMean:
    """The mean over each channel's image."""

    def __init__(self, channels_last: bool) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._shape = torch.Size()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Average (B, R·C, H, W) to (B, R·C, 1, 1)."""
        self._shape = x.shape
        return x.mean((2, 3), keepdim=True)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (B, R·C, H, W) for that of the output, (B, R·C, 1, 1)."""
        places = self._shape[2] * self._shape[3]
        return (d / places).expand(self._shape).contiguous(memory_format=self._format)


def _back(layers: Sequence[Layer], d: Tensor, needed: bool, write: bool) -> Tensor:
    """Backpropagate through a sequence of layers; return the gradient of the input."""
    for index in range(len(layers) - 1, -1, -1):
        d = layers[index].backward(d, needed or index > 0, write)
    return d

"""The layers of the networks, forward and backward, for R replicates at once.

Written out, because in small networks automatic differentiation takes longer than the arithmetic,
and because it has no way to write the gradient where it belongs. Images and what convolutions make
of them have the shape (B, R·C, H, W), one group of channels a replicate; from `Flatten` on it is
(R, B, F). A layer keeps what its `backward` needs, and lets go of it there. A `backward` writes the
gradient of the layer's own parameters, or adds to it, and returns that of its input, where it is
needed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

_aten = torch.ops.aten
_NOTHING = torch.empty(0)
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


class Linear:
    """y = x Wᵀ + b, batched over the replicates: x (R, B, in), W (R, out, in), b (R, out)."""

    def __init__(self, weight: Window, bias: Window | None) -> None:
        self._weight, self._weight_gradient = weight
        self._transposed = self._weight.transpose(1, 2)
        self._bias = bias and bias[0].unsqueeze(1)
        self._bias_gradient = bias and bias[1]
        self._x = _NOTHING

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return self._weight.shape[2], self._weight.shape[1]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """(R, B, in) to (R, B, out)."""
        if training:
            self._x = x
        if self._bias is None:
            return torch.bmm(x, self._transposed)
        return torch.baddbmm(self._bias, x, self._transposed)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """(R, B, out) to (R, B, in)."""
        x, self._x = self._x, _NOTHING
        if write:
            torch.bmm(d.transpose(1, 2), x, out=self._weight_gradient)
        else:
            self._weight_gradient.baddbmm_(d.transpose(1, 2), x)
        if self._bias_gradient is not None:
            if write:
                torch.sum(d, 1, out=self._bias_gradient)
            else:
                self._bias_gradient.add_(d.sum(1))
        return torch.bmm(d, self._weight) if needed else d

    def descend(self, d: Tensor, lr: float, squares: Tensor, needed: bool) -> Tensor:
        """As `backward`, but take the step W ← W − lr dᵀx at once, and keep no gradient.

        Its squared norm is added to `squares` (R,): over the samples, |dᵀx|² = Σᵢⱼ (dᵢ·dⱼ)(xᵢ·xⱼ),
        and for the bias the same without the x.
        """
        x, self._x = self._x, _NOTHING
        before = torch.bmm(d, self._weight) if needed else d
        products = torch.bmm(x, x.transpose(1, 2))
        if self._bias is not None:
            products += 1.0
            self._bias.sub_(d.sum(1, keepdim=True), alpha=lr)
        products *= torch.bmm(d, d.transpose(1, 2))
        squares += products.sum((1, 2))
        self._weight.baddbmm_(d.transpose(1, 2), x, alpha=-lr)
        return before


class Conv2d:
    """A convolution with a group of channels for each replicate: W (R, out, in, k, k)."""

    def __init__(
        self, weight: Window, bias: Window | None, padding: Sequence[int], channels_last: bool
    ) -> None:
        self._weight, self._bias, self._padding = weight, bias, list(padding)
        self._groups = len(weight[0])
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._x = self._kernel = _NOTHING

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """(B, R·in, H, W) to (B, R·out, H', W')."""
        # `contiguous` would leave one channel as it is, and with it all that comes after
        x = x.to(memory_format=self._format)
        kernel = self._weight[0].flatten(0, 1)
        bias = None if self._bias is None else self._bias[0].flatten()
        if training:
            self._x, self._kernel = x, kernel
        return torch.conv2d(x, kernel, bias, padding=self._padding, groups=self._groups)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """(B, R·out, H', W') to (B, R·in, H, W)."""
        biased = self._bias is not None
        x, self._x = self._x, _NOTHING
        found = _aten.convolution_backward(
            d.to(memory_format=self._format),
            *(x, self._kernel, [len(self._kernel)] if biased else None),
            *([1, 1], self._padding, [1, 1], False, [0, 0], self._groups),
            [needed, True, biased],
        )
        _put(self._weight[1], found[1], write)
        if self._bias is not None:
            _put(self._bias[1], found[2], write)
        return found[0] if needed else d


class MaxPool2d:
    """The largest of each 2×2 window."""

    def __init__(self) -> None:
        self._kept: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """(B, R·C, H, W) to (B, R·C, H/2, W/2)."""
        if not training:
            return torch.max_pool2d(x, 2)
        pooled, where = _aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
        self._kept = x, where
        result: Tensor = pooled
        return result

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """(B, R·C, H/2, W/2) to (B, R·C, H, W)."""
        (x, where), self._kept = self._kept, ()
        found: Tensor = _aten.max_pool2d_with_indices_backward(
            d, x, [2, 2], [2, 2], [0, 0], [1, 1], False, where
        )
        return found


class ReLU:
    """max(x, 0), in place: no layer before it needs its output."""

    def __init__(self) -> None:
        self._y = _NOTHING

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Any shape."""
        y = x.relu_()
        if training:
            self._y = y
        return y

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Any shape."""
        y, self._y = self._y, _NOTHING
        found: Tensor = _aten.threshold_backward(d, y, 0)
        return found


class Flatten:
    """From groups of channels to a row of features an image."""

    def __init__(self, replicates: int, channels_last: bool) -> None:
        self._replicates = replicates
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._shape = torch.Size()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """(B, R·C, H, W) to (R, B, C·H·W)."""
        self._shape = x.shape
        if self._replicates == 1:
            return x.flatten(1).unsqueeze(0)
        return x.reshape(len(x), self._replicates, -1).transpose(0, 1)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """(R, B, C·H·W) to (B, R·C, H, W)."""
        return d.transpose(0, 1).reshape(self._shape).contiguous(memory_format=self._format)


class BatchNorm:
    """Batch normalization (Ioffe & Szegedy 2015) of each replicate's channels by themselves.

    `features`: its input is (R, B, F), not (B, R·C, H, W).
    """

    def __init__(
        self,
        scale: Window,
        shift: Window,
        running: tuple[Tensor, Tensor, Tensor],
        module: nn.BatchNorm1d | nn.BatchNorm2d,
    ) -> None:
        self._scale, self._shift = scale, shift
        # views: a row's channels follow those of the row before
        self._mean, self._variance = running[0].view(-1), running[1].view(-1)
        self._batches = running[2]
        self._momentum, self._epsilon = module.momentum, module.eps
        self._features = isinstance(module, nn.BatchNorm1d)
        self._kept: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Same shape."""
        x, shape = self._channels(x), x.shape
        scale = self._scale[0].flatten()
        found, mean, inverse = _aten.native_batch_norm(
            *(x, scale, self._shift[0].flatten(), self._mean, self._variance),
            *(training, self._momentum, self._epsilon),
        )
        if training:
            self._batches += 1
            self._kept = x, scale, mean, inverse
        return self._back(found, shape)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Same shape."""
        (x, scale, mean, inverse), self._kept, shape = self._kept, (), d.shape
        found = _aten.native_batch_norm_backward(
            *(self._channels(d), x, scale, self._mean, self._variance, mean, inverse),
            *(True, self._epsilon, [True, True, True]),
        )
        _put(self._scale[1], found[1], write)
        _put(self._shift[1], found[2], write)
        return self._back(found[0], shape)

    def _channels(self, x: Tensor) -> Tensor:
        """(R, B, F) to (B, R·F)."""
        return x.transpose(0, 1).flatten(1) if self._features else x

    def _back(self, x: Tensor, shape: torch.Size) -> Tensor:
        if not self._features:
            return x
        replicates, _, features = shape
        return x.view(-1, replicates, features).transpose(0, 1)


def _put(gradient: Tensor, found: Tensor, write: bool) -> None:
    """Write what was found into the gradient of a parameter, or add it."""
    found = found.view_as(gradient)
    if write:
        gradient.copy_(found)
    else:
        gradient.add_(found)


def layers_of(
    model: nn.Module,
    parameters: Callable[[], Window],
    buffers: Iterator[Tensor],
    replicates: int,
    channels_last: bool,
) -> list[Layer] | None:
    """The layers of a sequential network; None where one of them is not written out here.

    `parameters` gives the windows of its parameters one after the other, `buffers` what batch norm
    keeps, both in the order in which torch lists them.
    """
    if not isinstance(model, nn.Sequential):
        return None
    layers: list[Layer] = []
    for module in model:
        match module:
            case nn.Linear():
                bias = module.bias is not None
                layers.append(Linear(parameters(), parameters() if bias else None))
            case nn.Conv2d(
                padding=(int(), int()) as padding,
                padding_mode="zeros",
                stride=(1, 1),
                dilation=(1, 1),
                groups=1,
            ):
                bias = module.bias is not None
                windows = parameters(), parameters() if bias else None
                layers.append(Conv2d(*windows, padding, channels_last))
            case nn.BatchNorm1d() | nn.BatchNorm2d() if _is_usual(module):
                running = next(buffers), next(buffers), next(buffers)
                layers.append(BatchNorm(parameters(), parameters(), running, module))
            case nn.MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False):
                layers.append(MaxPool2d())
            case nn.ReLU():
                layers.append(ReLU())
            case nn.Flatten(start_dim=1, end_dim=-1):
                layers.append(Flatten(replicates, channels_last))
            case _:
                return None
    return layers


def _is_usual(module: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    """Whether it scales and shifts, and keeps exponential averages."""
    parts = module.weight, module.bias, module.running_mean, module.momentum
    return all(part is not None for part in parts)

"""Forward and backward pass of a stack: the gradients of all replicates, each on images of its own.

Two ways to take them: written out, for the layers of `engine.training.model.layers` in float32; by
automatic differentiation, one replicate after the other, for everything else.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.model.layer import Layer, Window
from batchscope.engine.training.model.layers import Flatten, Linear, ReLU, layers_of

Heard = Callable[[int], None]

LARGE_BUFFER = 150_000  # weights of all replicates
PRODUCTS_A_WEIGHT = 10


class Pass(Protocol):
    """Takes gradients of R replicates.

    Attributes:
        few: up to how many samples a step of plain gradient descent is faster by `descend`.
    """

    few: int

    def accumulate(
        self, images: Tensor, labels: Tensor, batch: Tensor, cut: int, mean: bool, heard: Heard
    ) -> None:
        """Leave in the gradient (R, P) that of the loss of a batch: indices, shape (R, B).

        The loss is the cross-entropy summed over the samples, divided by B if `mean`. Of every
        `cut` samples the sum is added, so a smaller last micro-batch has just the weight of its
        samples. After each, `heard` is told how many those were.
        """

    def descend(
        self, images: Tensor, labels: Tensor, batch: Tensor, mean: bool, lr: float
    ) -> Tensor:
        """A step of plain gradient descent on a batch (R, B); norms (R,) of the gradients.

        The gradients themselves are nowhere: of few samples they are sums of so few products that
        writing and reading them is most of the work.
        """

    def logits(self, images: Tensor) -> Tensor:
        """The outputs (R, B, K) in evaluation mode for images (B, C, H, W); no gradient is kept."""


def unheard(size: int) -> None:
    """Nobody asks for the parts of a gradient."""


class Explicit:
    """Forward and backward written out, layer by layer, without automatic differentiation."""

    def __init__(self, layers: list[Layer], gradient: Tensor) -> None:
        self._gradient, self._replicates = gradient, len(gradient)
        # a network that flattens first is given rows of features at once
        self._of_features = isinstance(layers[0], Flatten)
        self._layers = layers[1:] if self._of_features else layers
        self.few = _few_samples(self._layers, gradient)

    def accumulate(
        self, images: Tensor, labels: Tensor, batch: Tensor, cut: int, mean: bool, heard: Heard
    ) -> None:
        """As `Pass` says."""
        size = batch.shape[1]
        scale = 1.0 / size if mean else 1.0
        with torch.no_grad():
            # rows are apart: there torch would write into a copy first
            write = self._replicates == 1
            if not write:
                self._gradient.zero_()
            for micro_batch in torch.split(batch, cut, 1) if size > cut else (batch,):
                x = self._gathered(images, micro_batch)
                for layer in self._layers:
                    x = layer.forward(x, True)
                self._backward(_loss_gradient(x, labels, micro_batch, scale), write)
                write = False
                heard(micro_batch.shape[1])

    @torch.no_grad()
    def descend(
        self, images: Tensor, labels: Tensor, batch: Tensor, mean: bool, lr: float
    ) -> Tensor:
        """As `Pass` says."""
        x = self._gathered(images, batch)
        for layer in self._layers:
            x = layer.forward(x, True)
        d = _loss_gradient(x, labels, batch, 1.0 / batch.shape[1] if mean else 1.0)
        squares = torch.zeros(self._replicates, device=d.device)
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            if isinstance(layer, Linear):
                d = layer.descend(d, lr, squares, index > 0)
            else:
                d = layer.backward(d, index > 0, False)
        return squares.clamp_(min=0.0).sqrt_()

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """As `Pass` says."""
        if self._of_features:
            x = images.flatten(1).unsqueeze(0).expand(self._replicates, -1, -1)
        else:
            x = images.repeat(1, self._replicates, 1, 1) if self._replicates > 1 else images
        for layer in self._layers:
            x = layer.forward(x, False)
        return x

    def _gathered(self, images: Tensor, batch: Tensor) -> Tensor:
        """The images of a batch as the first layer wants them."""
        if self._of_features:
            pixels = images.index_select(0, batch.reshape(-1))
            return pixels.view(*batch.shape, -1)
        pixels = images.index_select(0, batch.t().reshape(-1))
        return pixels.view(batch.shape[1], -1, *images.shape[2:])

    def _backward(self, d: Tensor, write: bool) -> None:
        for index in range(len(self._layers) - 1, -1, -1):
            d = self._layers[index].backward(d, index > 0, write)


class Automatic:
    """By automatic differentiation, one replicate after the other."""

    def __init__(self, members: list[FlatModel]) -> None:
        self._members = members

    def accumulate(
        self, images: Tensor, labels: Tensor, batch: Tensor, cut: int, mean: bool, heard: Heard
    ) -> None:
        """As `Pass` says."""
        size = batch.shape[1]
        for flat in self._members:
            flat.gradient.zero_()
        gradient = self._members[0].gradient
        weight = _scalar(1.0 / size if mean else 1.0, gradient.device, gradient.dtype)
        for start in range(0, size, cut):
            for flat, row in zip(self._members, batch, strict=True):
                some = row[start : start + cut]
                logits = flat.logits(images[some])
                loss = functional.cross_entropy(logits, labels[some], reduction="sum")
                loss.backward(weight)  # type: ignore[no-untyped-call]
            heard(min(cut, size - start))

    few = 0

    def descend(
        self, images: Tensor, labels: Tensor, batch: Tensor, mean: bool, lr: float
    ) -> Tensor:
        """As `Pass` says, along gradients that are there."""
        self.accumulate(images, labels, batch, batch.shape[1], mean, unheard)
        norms = torch.stack([flat.norm() for flat in self._members])
        for flat in self._members:
            flat.weights.detach().add_(flat.gradient, alpha=-lr)
        return norms

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """As `Pass` says."""
        for flat in self._members:
            flat.model.eval()
        logits = torch.stack([flat.logits(images) for flat in self._members])
        for flat in self._members:
            flat.model.train()
        return logits


def _few_samples(layers: list[Layer], gradient: Tensor) -> int:
    """Up to how many samples a step is faster without its gradients; measured on a CPU.

    Norms by products of samples cost B² (in + out) multiply-adds a layer, and five more calls. What
    they save is the traffic of in · out weights, to be felt in large buffers alone.
    """
    linear = [layer.shape for layer in layers if isinstance(layer, Linear)]
    plain = all(isinstance(layer, Linear | ReLU) for layer in layers)
    if not plain or gradient.is_cuda or gradient.numel() < LARGE_BUFFER:
        return 0
    weights = sum(inputs * outputs for inputs, outputs in linear)
    return math.isqrt(PRODUCTS_A_WEIGHT * weights // sum(map(sum, linear)))


def pass_of(
    members: list[FlatModel],
    weights: Tensor,
    gradient: Tensor,
    buffers: list[Tensor],
    channels_last: bool = False,
) -> Pass:
    """The fastest way to take the gradients of networks that are the rows of (R, P) buffers."""
    model = members[0].model
    at = iter(zip(model.parameters(), windows(model.parameters()), strict=True))

    def parameters() -> Window:
        parameter, window = next(at)
        shape = len(weights), *parameter.shape
        return weights[:, window].view(shape), gradient[:, window].view(shape)

    layers = None
    if members[0].exact:
        kept: Iterator[Tensor] = iter(buffers)
        layers = layers_of(model, parameters, kept, len(weights), channels_last)
        first = next((each for each in layers or () if not isinstance(each, Flatten)), None)
        if isinstance(first, ReLU):  # it would write over the images
            layers = None
    return Automatic(members) if layers is None else Explicit(layers, gradient)


def alone(flat: FlatModel, channels_last: bool = False) -> Pass:
    """The passes of one network by itself, whether its buffers are rows of larger ones or not."""
    buffers = [buffer.unsqueeze(0) for buffer in flat.model.buffers()]
    weights, gradient = flat.weights.detach().unsqueeze(0), flat.gradient.unsqueeze(0)
    return pass_of([flat], weights, gradient, buffers, channels_last)


def _loss_gradient(logits: Tensor, labels: Tensor, batch: Tensor, scale: float) -> Tensor:
    """Gradient of the summed cross-entropy times `scale`: softmax of the logits − 1 at the label.

    `logits` (R, B, K), of the images `batch` (R, B).
    """
    d = torch.softmax(logits, 2)
    index = labels.index_select(0, batch.reshape(-1)).view(*batch.shape, 1)
    d.scatter_add_(2, index, _minus_one(logits.device, logits.dtype).expand(index.shape))
    return d if scale == 1.0 else d.mul_(scale)


@lru_cache(maxsize=64)
def _scalar(value: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A number on the device, kept: bringing it there anew would wait for a GPU at every step."""
    return torch.tensor(value, device=device, dtype=dtype)


def _minus_one(device: torch.device, dtype: torch.dtype) -> Tensor:
    return _scalar(-1.0, device, dtype)

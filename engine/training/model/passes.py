"""Forward and backward pass of a stack: the gradients of all replicates, each of its own images.

There are two ways. Networks of the layers in `engine.training.model.layers`, in float32, have their
passes written out, for all replicates at once. Everything else uses automatic differentiation, one
replicate after the other.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from batchscope.engine.training.batches import Labeled
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.model.layer import Layer, Window
from batchscope.engine.training.model.layers import Flatten, Linear, ReLU, layers_of
from batchscope.engine.training.model.task_pass import TaskPass
from batchscope.engine.training.trained_parameters import trained

Heard = Callable[[int], None]
"""Called after each micro-batch with its number of samples."""

LARGE_BUFFER = 150_000  # weights of all replicates
PRODUCTS_A_WEIGHT = 10


class Pass(Protocol):
    """Computes the gradients of R replicates.

    Attributes:
        few: the largest batch for which `descend` is the faster step of plain gradient descent.
    """

    few: int

    def accumulate(self, samples: Any, batch: Tensor, cut: int, mean: bool, heard: Heard) -> None:
        """Compute the gradient (R, P) of the loss of a batch, accumulated over micro-batches.

        The loss is the cross-entropy summed over the samples, divided by B if `mean`. Micro-batches
        add up their sums, so each sample has the same weight, also in a smaller last micro-batch.

        Args:
            samples: all samples, `Samples`; of images `Labeled`.
            batch: numbers of the samples of each replicate, (R, B).
            cut: the micro-batch size.
            mean: whether the loss is the mean over the batch, not the sum.
            heard: called after each micro-batch with its number of samples.
        """

    def descend(self, samples: Any, batch: Tensor, mean: bool, lr: float) -> Tensor:
        """Take a step of plain gradient descent on a batch (R, B); return the gradient norms (R,).

        The gradients are not stored: for few samples, writing and reading them would be most of the
        work.
        """


@runtime_checkable
class Classifier(Protocol):
    """Classifies images with R replicates; a `Pass` of a network does, that of a task does not."""

    def logits(self, images: Tensor) -> Tensor:
        """Return the outputs (R, B, K) in evaluation mode for images (B, C, H, W)."""


def unheard(size: int) -> None:
    """Do nothing after a micro-batch; for callers without a use for `heard`."""


class Explicit:
    """Passes that are written out layer by layer, for all replicates at once."""

    def __init__(self, layers: list[Layer], gradient: Tensor) -> None:
        self._gradient, self._replicates = gradient, len(gradient)
        # a network that begins with Flatten gets rows of features directly
        self._of_features = isinstance(layers[0], Flatten)
        self._layers = layers[1:] if self._of_features else layers
        self.few = _few_samples(self._layers, gradient)

    def accumulate(
        self, samples: Labeled, batch: Tensor, cut: int, mean: bool, heard: Heard
    ) -> None:
        """Compute the gradient (R, P) of a batch; see `Pass.accumulate`."""
        images, labels = samples
        size = batch.shape[1]
        scale = 1.0 / size if mean else 1.0
        with torch.no_grad():
            # of several replicates a gradient is not contiguous, so torch would write a copy first
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
    def descend(self, samples: Labeled, batch: Tensor, mean: bool, lr: float) -> Tensor:
        """Take a step of plain gradient descent; see `Pass.descend`."""
        images, labels = samples
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
        """Return the outputs (R, B, K) for images; see `Classifier.logits`."""
        if self._of_features:
            x = images.flatten(1).unsqueeze(0).expand(self._replicates, -1, -1)
        else:
            x = images.repeat(1, self._replicates, 1, 1) if self._replicates > 1 else images
        for layer in self._layers:
            x = layer.forward(x, False)
        return x

    def _gathered(self, images: Tensor, batch: Tensor) -> Tensor:
        """Return the images of a batch (R, B), in the shape that the first layer takes."""
        if self._of_features:
            pixels = images.index_select(0, batch.reshape(-1))
            return pixels.view(*batch.shape, -1)
        pixels = images.index_select(0, batch.t().reshape(-1))
        return pixels.view(batch.shape[1], -1, *images.shape[2:])

    def _backward(self, d: Tensor, write: bool) -> None:
        for index in range(len(self._layers) - 1, -1, -1):
            d = self._layers[index].backward(d, index > 0, write)


class Automatic:
    """Passes by automatic differentiation, one replicate after the other."""

    def __init__(self, members: list[FlatModel]) -> None:
        self._members = members

    def accumulate(
        self, samples: Labeled, batch: Tensor, cut: int, mean: bool, heard: Heard
    ) -> None:
        """Compute the gradient (R, P) of a batch; see `Pass.accumulate`."""
        images, labels = samples
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

    def descend(self, samples: Labeled, batch: Tensor, mean: bool, lr: float) -> Tensor:
        """Take a step of plain gradient descent with stored gradients; see `Pass.descend`."""
        self.accumulate(samples, batch, batch.shape[1], mean, unheard)
        norms = torch.stack([flat.norm() for flat in self._members])
        for flat in self._members:
            flat.weights.detach().add_(flat.gradient, alpha=-lr)
        return norms

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the outputs (R, B, K) for images; see `Classifier.logits`."""
        for flat in self._members:
            flat.model.eval()
        logits = torch.stack([flat.logits(images) for flat in self._members])
        for flat in self._members:
            flat.model.train()
        return logits


def _few_samples(layers: list[Layer], gradient: Tensor) -> int:
    """Return the largest batch for which a step is faster without stored gradients.

    Norms from products of samples cost B² (in + out) multiply-adds a layer, and five more calls.
    They save writing and reading in · out weights, which matters in large buffers only. The
    constants were measured on a CPU.
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
    """Return the fastest way to compute the gradients of networks that share buffers.

    Args:
        members: the R replicates; their weights and gradients are rows of the buffers.
        weights: shape (R, P).
        gradient: shape (R, P).
        buffers: the buffers of batch norm, each of shape (R, ...), in the order of `buffers()`.
        channels_last: whether to compute in the channels-last layout.
    """
    model = members[0].model
    if members[0].objective is not None:
        return TaskPass(members[0])
    at = iter(zip(trained(model), windows(trained(model)), strict=True))

    def parameters() -> Window:
        parameter, window = next(at)
        shape = len(weights), *parameter.shape
        return weights[:, window].view(shape), gradient[:, window].view(shape)

    layers = None
    if members[0].exact:
        kept: Iterator[Tensor] = iter(buffers)
        layers = layers_of(model, parameters, kept, len(weights), channels_last)
        first = next((each for each in layers or () if not isinstance(each, Flatten)), None)
        if isinstance(first, ReLU):  # it would overwrite the images
            layers = None
    return Automatic(members) if layers is None else Explicit(layers, gradient)


def alone(flat: FlatModel, channels_last: bool = False) -> Pass:
    """Return the `Pass` of a single network, even if its buffers are rows of larger ones."""
    buffers = [buffer.unsqueeze(0) for buffer in flat.model.buffers()]
    weights, gradient = flat.weights.detach().unsqueeze(0), flat.gradient.unsqueeze(0)
    return pass_of([flat], weights, gradient, buffers, channels_last)


def _loss_gradient(logits: Tensor, labels: Tensor, batch: Tensor, scale: float) -> Tensor:
    """Return the gradient of the summed cross-entropy with respect to the logits, × `scale`.

    It is the softmax of the logits, minus 1 at the label.

    Args:
        logits: shape (R, B, K).
        labels: of all images, (N,).
        batch: indices of the samples, (R, B).
        scale: factor of the loss.
    """
    d = torch.softmax(logits, 2)
    index = labels.index_select(0, batch.reshape(-1)).view(*batch.shape, 1)
    d.scatter_add_(2, index, _minus_one(logits.device, logits.dtype).expand(index.shape))
    return d if scale == 1.0 else d.mul_(scale)


@lru_cache(maxsize=64)
def _scalar(value: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a number on the device; cached, because each copy would wait for the GPU."""
    return torch.tensor(value, device=device, dtype=dtype)


def _minus_one(device: torch.device, dtype: torch.dtype) -> Tensor:
    return _scalar(-1.0, device, dtype)

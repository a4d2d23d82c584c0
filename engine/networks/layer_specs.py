"""Layers of a network as plain values, without torch: output shapes, weights and multiply-adds.

A network is a sequence of these. `engine.training.model.build` makes torch modules of them, one for
each. Sizes of inputs are not written down: they follow from the shape of the images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
"""The shape of one image, (channels, height, width), or of its features, (features,)."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer; by default it keeps the shape, and has no weights and no multiply-adds."""

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        return shape

    def weights(self, shape: Shape) -> int:
        """Return the number of trainable weights, biases included."""
        return 0

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of one forward pass of one image, without those of biases."""
        return 0

    def fits(self, shape: Shape) -> bool:
        """Return whether the output for an input of this shape is not empty."""
        return min(self.output(shape)) > 0


@dataclass(frozen=True, slots=True)
class Conv(LayerSpec):
    """A square convolution from (C, H, W) to (outputs, H', W')."""

    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        """Return (outputs, H', W'); a side is 0 or less where the kernel does not fit."""
        beyond = 2 * self.padding - self.kernel
        height, width = ((side + beyond) // self.stride + 1 for side in shape[1:])
        return self.outputs, height, width

    def weights(self, shape: Shape) -> int:
        """Return the size of the kernels and biases."""
        return (self._inputs(shape) + self.bias) * self.outputs

    def multiply_adds(self, shape: Shape) -> int:
        """Return the kernel size times the number of outputs."""
        return self._inputs(shape) * math.prod(self.output(shape))

    def _inputs(self, shape: Shape) -> int:
        """Return the number of inputs that one output value depends on."""
        return self.kernel * self.kernel * shape[0]


@dataclass(frozen=True, slots=True)
class Linear(LayerSpec):
    """A fully connected layer from (F,) to (outputs,)."""

    outputs: int
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        """Return (outputs,)."""
        return (self.outputs,)

    def weights(self, shape: Shape) -> int:
        """Return the size of the matrix and the bias."""
        return (shape[0] + self.bias) * self.outputs

    def multiply_adds(self, shape: Shape) -> int:
        """Return the size of the matrix."""
        return shape[0] * self.outputs


@dataclass(frozen=True, slots=True)
class BatchNorm(LayerSpec):
    """Batch norm of channels or of features; over groups of images where a size is given."""

    ghost_batch_size: int | None = None

    def weights(self, shape: Shape) -> int:
        """Return one scale and one shift for each channel."""
        return 2 * shape[0]


@dataclass(frozen=True, slots=True)
class ReLU(LayerSpec):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class MaxPool(LayerSpec):
    """The largest of each 2×2 window, which halves the image."""

    def output(self, shape: Shape) -> Shape:
        """Return (C, H // 2, W // 2)."""
        channels, height, width = shape
        return channels, height // 2, width // 2


@dataclass(frozen=True, slots=True)
class GlobalMean(LayerSpec):
    """The mean over each channel's image."""

    def output(self, shape: Shape) -> Shape:
        """Return (C, 1, 1)."""
        return shape[0], 1, 1


@dataclass(frozen=True, slots=True)
class Flatten(LayerSpec):
    """All numbers of an image as features, channel by channel."""

    def output(self, shape: Shape) -> Shape:
        """Return (C·H·W,)."""
        return (math.prod(shape),)


@dataclass(frozen=True, slots=True)
class Residual(LayerSpec):
    """body(x) + shortcut(x); without layers the shortcut is the identity."""

    body: tuple[LayerSpec, ...]
    shortcut: tuple[LayerSpec, ...] = ()

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the body's output, which is that of the shortcut's too."""
        return output_shape(self.body, shape)

    def weights(self, shape: Shape) -> int:
        """Return the sum over body and shortcut."""
        return weights(self.body, shape) + weights(self.shortcut, shape)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the sum over body and shortcut."""
        return multiply_adds(self.body, shape) + multiply_adds(self.shortcut, shape)

    def fits(self, shape: Shape) -> bool:
        """Return whether every layer of body and shortcut has a non-empty output."""
        return fits(self.body, shape) and fits(self.shortcut, shape)


def with_inputs(layers: Sequence[LayerSpec], shape: Shape) -> Iterator[tuple[LayerSpec, Shape]]:
    """Yield each layer with the shape of its input, where the first layer's is `shape`."""
    for layer in layers:
        yield layer, shape
        shape = layer.output(shape)


def output_shape(layers: Sequence[LayerSpec], shape: Shape) -> Shape:
    """Return the shape of the output of a sequence of layers."""
    for layer in layers:
        shape = layer.output(shape)
    return shape


def weights(layers: Sequence[LayerSpec], shape: Shape) -> int:
    """Return the number of trainable weights of a sequence of layers."""
    return sum(layer.weights(before) for layer, before in with_inputs(layers, shape))


def multiply_adds(layers: Sequence[LayerSpec], shape: Shape) -> int:
    """Return the multiply-adds of one image's forward pass through a sequence of layers."""
    return sum(layer.multiply_adds(before) for layer, before in with_inputs(layers, shape))


def fits(layers: Sequence[LayerSpec], shape: Shape) -> bool:
    """Return whether no layer reduces the image to nothing."""
    return all(layer.fits(before) for layer, before in with_inputs(layers, shape))

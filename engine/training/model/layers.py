"""The layers of the networks, forward and backward, for R replicates at once.

The backward passes are written out for two reasons: in small networks automatic differentiation
takes longer than the arithmetic, and it cannot write the gradient directly into a given buffer.

Images and the outputs of convolutions have the shape (B, R·C, H, W), with one group of C channels
for each replicate. From `Flatten` on, the shape is (R, B, F). The `forward` of a layer keeps what
its `backward` needs, and `backward` releases it. `engine.training.model.layer` defines both.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from batchscope.engine.training.model.batch_norm_layers import BatchNorm
from batchscope.engine.training.model.layer import NOTHING, Layer, Window, put
from batchscope.engine.training.model.modules import ResidualBlock
from batchscope.engine.training.model.residual import GlobalMean, ResidualLayer

_aten = torch.ops.aten


class Linear:
    """y = x Wᵀ + b, batched over the replicates: x (R, B, in), W (R, out, in), b (R, out)."""

    def __init__(self, weight: Window, bias: Window | None) -> None:
        self._weight, self._weight_gradient = weight
        self._transposed = self._weight.transpose(1, 2)
        self._bias = bias and bias[0].unsqueeze(1)
        self._bias_gradient = bias and bias[1]
        self._x = NOTHING

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of inputs and of outputs."""
        return self._weight.shape[2], self._weight.shape[1]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Map (R, B, in) to (R, B, out)."""
        if training:
            self._x = x
        if self._bias is None:
            return torch.bmm(x, self._transposed)
        return torch.baddbmm(self._bias, x, self._transposed)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (R, B, in) for that of the output, (R, B, out)."""
        x, self._x = self._x, NOTHING
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
        """Compute what `backward` does, but step W ← W − lr dᵀx at once, without a stored gradient.

        Args:
            d: gradient of the output, shape (R, B, out).
            lr: the learning rate.
            squares: shape (R,); the squared norm of the gradient is added to it. Over the samples
                it is |dᵀx|² = Σᵢⱼ (dᵢ·dⱼ)(xᵢ·xⱼ), and for the bias Σᵢⱼ dᵢ·dⱼ.
            needed: whether the gradient of the input is used.
        """
        x, self._x = self._x, NOTHING
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
        self,
        weight: Window,
        bias: Window | None,
        padding: Sequence[int],
        channels_last: bool,
        stride: Sequence[int] = (1, 1),
    ) -> None:
        """Take the parameters of all replicates.

        Args:
            weight: shape (R, out, in, k, k), with its gradient.
            bias: shape (R, out), with its gradient; None where there is none.
            padding: pixels at each side, by height and width.
            channels_last: whether to compute in the channels-last layout.
            stride: by height and width.
        """
        self._weight, self._bias, self._padding = weight, bias, list(padding)
        self._stride = list(stride)
        self._groups = len(weight[0])
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._x = self._kernel = NOTHING

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Map (B, R·in, H, W) to (B, R·out, H', W')."""
        # `contiguous` would not change the layout of one channel, nor then that of later layers
        x = x.to(memory_format=self._format)
        kernel = self._weight[0].flatten(0, 1)
        bias = None if self._bias is None else self._bias[0].flatten()
        if training:
            self._x, self._kernel = x, kernel
        return torch.conv2d(x, kernel, bias, self._stride, self._padding, groups=self._groups)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (B, R·in, H, W) for that of the output, (B, R·out, H', W')."""
        biased = self._bias is not None
        x, self._x = self._x, NOTHING
        gradients = _aten.convolution_backward(
            d.to(memory_format=self._format),
            x,
            self._kernel,
            [len(self._kernel)] if biased else None,
            self._stride,
            self._padding,
            [1, 1],
            False,
            [0, 0],
            self._groups,
            [needed, True, biased],
        )
        put(self._weight[1], gradients[1], write)
        if self._bias is not None:
            put(self._bias[1], gradients[2], write)
        return gradients[0] if needed else d


class StridedPointwise:
    """A 1×1 convolution with a stride, as a convolution without stride of the pixels that it reads.

    It avoids a bug of torch 2.11 and 2.13: with channels-last input of fewer than 8 channels, the
    backward pass of oneDNN's kernels for AVX2 writes beyond its memory. Mostly it is also faster.
    """

    def __init__(self, convolution: Conv2d, stride: Sequence[int]) -> None:
        self._convolution = convolution
        self._rows, self._columns = (slice(None, None, step) for step in stride)
        self._shape = torch.Size()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Map (B, R·in, H, W) to (B, R·out, ⌈H/s⌉, ⌈W/s⌉)."""
        self._shape = x.shape
        pixels = x[:, :, self._rows, self._columns].contiguous(memory_format=torch.channels_last)
        return self._convolution.forward(pixels, training)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (B, R·in, H, W) for that of the output, (B, R·out, ⌈H/s⌉, ⌈W/s⌉)."""
        pixels = self._convolution.backward(d, needed, write)
        if not needed:
            return d
        before = torch.empty(
            self._shape, dtype=d.dtype, device=d.device, memory_format=torch.channels_last
        )
        before.zero_()[:, :, self._rows, self._columns] = pixels
        return before


class MaxPool2d:
    """The largest of each 2×2 window."""

    def __init__(self) -> None:
        self._kept: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Map (B, R·C, H, W) to (B, R·C, H/2, W/2)."""
        if not training:
            return torch.max_pool2d(x, 2)
        pooled, where = _aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
        self._kept = x, where
        result: Tensor = pooled
        return result

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (B, R·C, H, W) for that of the output, (B, R·C, H/2, W/2)."""
        (x, where), self._kept = self._kept, ()
        gradient: Tensor = _aten.max_pool2d_with_indices_backward(
            d, x, [2, 2], [2, 2], [0, 0], [1, 1], False, where
        )
        return gradient


class ReLU:
    """max(x, 0), in place: the layer before it does not need its output any more."""

    def __init__(self) -> None:
        self._y = NOTHING

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return max(x, 0), of any shape; overwrites x."""
        y = x.relu_()
        if training:
            self._y = y
        return y

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient of the input, of the same shape."""
        y, self._y = self._y, NOTHING
        gradient: Tensor = _aten.threshold_backward(d, y, 0)
        return gradient


class Flatten:
    """From images with a group of channels for each replicate to rows of features."""

    def __init__(self, replicates: int, channels_last: bool) -> None:
        self._replicates = replicates
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._shape = torch.Size()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Map (B, R·C, H, W) to (R, B, C·H·W)."""
        self._shape = x.shape
        if self._replicates == 1:
            return x.flatten(1).unsqueeze(0)
        return x.reshape(len(x), self._replicates, -1).transpose(0, 1)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient (B, R·C, H, W) for that of the output, (R, B, C·H·W)."""
        return d.transpose(0, 1).reshape(self._shape).contiguous(memory_format=self._format)


def layers_of(
    model: nn.Module,
    parameters: Callable[[], Window],
    buffers: Iterator[Tensor],
    replicates: int,
    channels_last: bool,
) -> list[Layer] | None:
    """Return the layers of a sequential network; None if one of its modules is not supported here.

    Args:
        model: one replicate.
        parameters: returns the windows of the parameters, one at each call, in torch's order.
        buffers: the buffers of batch norm, shape (R, ...), in torch's order.
        replicates: R.
        channels_last: whether to compute in the channels-last layout.
    """
    if not isinstance(model, nn.Sequential):
        return None
    return _Converter(parameters, buffers, replicates, channels_last).layers(model)


class _Converter:
    """Makes a layer of one module after the other; see `layers_of` for the arguments."""

    def __init__(
        self,
        parameters: Callable[[], Window],
        buffers: Iterator[Tensor],
        replicates: int,
        channels_last: bool,
    ) -> None:
        self._parameters, self._buffers = parameters, buffers
        self._replicates, self._channels_last = replicates, channels_last

    def layers(self, network: nn.Sequential) -> list[Layer] | None:
        """Return all layers; None if a module is not supported."""
        layers: list[Layer] = []
        for module in network:
            layer = self._layer(module)
            if layer is None:
                return None
            layers.append(layer)
        return layers

    def _layer(self, module: nn.Module) -> Layer | None:
        match module:
            case nn.Linear():
                return Linear(*self._windows(module))
            case nn.Conv2d(
                padding=(int(), int()) as padding,
                padding_mode="zeros",
                dilation=(1, 1),
                groups=1,
            ):
                return self._convolution(module, padding)
            case nn.BatchNorm1d() | nn.BatchNorm2d() if _is_usual(module):
                running = next(self._buffers), next(self._buffers), next(self._buffers)
                return BatchNorm(self._parameters(), self._parameters(), running, module)
            case nn.MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False):
                return MaxPool2d()
            case nn.AdaptiveAvgPool2d(output_size=1):
                return GlobalMean(self._channels_last)
            case nn.ReLU():
                return ReLU()
            case nn.Flatten(start_dim=1, end_dim=-1):
                return Flatten(self._replicates, self._channels_last)
            case ResidualBlock():
                return self._residual(module)
        return None

    def _convolution(self, module: nn.Conv2d, padding: tuple[int, ...]) -> Layer:
        windows = self._windows(module)
        pointwise = module.kernel_size == (1, 1) and padding == (0, 0)
        if self._channels_last and pointwise and module.stride != (1, 1):
            return StridedPointwise(Conv2d(*windows, padding, channels_last=True), module.stride)
        return Conv2d(*windows, padding, self._channels_last, module.stride)

    def _windows(self, module: nn.Linear | nn.Conv2d) -> tuple[Window, Window | None]:
        """Return the windows of the weights, and of the bias if there is one."""
        return self._parameters(), None if module.bias is None else self._parameters()

    def _residual(self, module: ResidualBlock) -> Layer | None:
        """Return the residual block; None if a first layer may overwrite the shared input."""
        branches = module.body, module.shortcut
        if any(len(branch) and isinstance(branch[0], nn.ReLU | nn.Flatten) for branch in branches):
            return None
        body, shortcut = self.layers(module.body), self.layers(module.shortcut)
        return ResidualLayer(body, shortcut) if body and shortcut is not None else None


def _is_usual(module: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    """Return whether batch norm is affine and keeps exponential running averages."""
    parts = module.weight, module.bias, module.running_mean, module.momentum
    return all(part is not None for part in parts)

"""Every layer of several replicates, forward and backward, against autograd on each replicate."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from batchscope.engine.training.model.layer import Layer
from batchscope.engine.training.model.layers import layers_of
from batchscope.engine.training.model.modules import ResidualBlock


def residual(inputs: int, outputs: int, stride: int, bias: bool) -> ResidualBlock:
    """With ReLU in the body, which works in place where it is written out."""
    shortcut = [nn.Conv2d(inputs, outputs, 1, stride, bias=bias)] if stride > 1 else []
    body = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias),
    )
    return ResidualBlock(body, nn.Sequential(*shortcut))


Make = Callable[[int, int, bool], nn.Module]
"""From channels or features in and out, and whether there is a bias."""

IMAGES: dict[str, Make] = {
    "convolution": lambda c, k, bias: nn.Conv2d(c, k, 3, padding=1, bias=bias),
    "convolution of 5 × 5 without padding": lambda c, k, bias: nn.Conv2d(c, k, 5, bias=bias),
    "convolution with a stride": lambda c, k, bias: nn.Conv2d(c, k, 3, 2, padding=1, bias=bias),
    "projection": lambda c, k, bias: nn.Conv2d(c, k, 1, 2, bias=bias),
    "mean over the image": lambda c, k, bias: nn.AdaptiveAvgPool2d(1),
    "residual": lambda c, k, bias: residual(c, c, 1, bias),
    "residual with a projection": lambda c, k, bias: residual(c, k, 2, bias),
    "pooling": lambda c, k, bias: nn.MaxPool2d(2),
    "batch norm": lambda c, k, bias: nn.BatchNorm2d(c),
    "ReLU": lambda c, k, bias: nn.ReLU(),
    "flattening": lambda c, k, bias: nn.Flatten(),
}
FEATURES: dict[str, Make] = {
    "linear": lambda c, k, bias: nn.Linear(c, k, bias=bias),
    "batch norm of features": lambda c, k, bias: nn.BatchNorm1d(c),
    "ReLU of features": lambda c, k, bias: nn.ReLU(),
}
LAYERS = {**IMAGES, **FEATURES}


class Case(NamedTuple):
    """R modules, and what goes into each and comes back to each: tensors of a batch."""

    modules: list[nn.Module]
    inputs: list[Tensor]
    back: list[Tensor]


def case(name: str, replicates: int, batch: int, widths: tuple[int, int], bias: bool) -> Case:
    generator = torch.Generator().manual_seed(replicates + 10 * batch)
    modules = [LAYERS[name](*widths, bias).double() for _ in range(replicates)]
    for module in modules:
        for number, tensor in enumerate([*module.parameters(), *module.buffers()]):
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.data.copy_(noise.abs() + 0.1 if number >= 2 else noise)
    shape = (batch, widths[0], 7, 6) if name in IMAGES else (batch, widths[0])
    inputs = [torch.randn(shape, generator=generator).double() for _ in modules]
    with torch.no_grad():
        outputs = [module.eval()(x).shape for module, x in zip(modules, inputs, strict=True)]
    back = [torch.randn(shape, generator=generator).double() for shape in outputs]
    return Case(modules, inputs, back)


def cast(of: Case, dtype: torch.dtype) -> Case:
    inputs, back = ([x.to(dtype) for x in rows] for rows in (of.inputs, of.back))
    return Case([module.to(dtype) for module in of.modules], inputs, back)


class Stacked:
    """The layer of all replicates, with a buffer for each of its parameters.

    Its weights are copies, so that the modules stay as they are; the gradients hold ones.
    """

    def __init__(self, modules: Sequence[nn.Module], channels_last: bool) -> None:
        parameters = zip(*(module.parameters() for module in modules), strict=True)
        self.weights = [torch.stack([p.detach() for p in alike]) for alike in parameters]
        self.gradients = [torch.ones_like(weight) for weight in self.weights]
        buffers = zip(*(module.buffers() for module in modules), strict=True)
        self.buffers = [torch.stack(alike) for alike in buffers]
        windows = zip(self.weights, self.gradients, strict=True)
        of = nn.Sequential(modules[0])
        layers = layers_of(
            of, lambda: next(windows), iter(self.buffers), len(modules), channels_last
        )
        assert layers is not None
        (self.layer,) = layers

    @property
    def forward(self) -> Callable[[Tensor, bool], Tensor]:
        layer: Layer = self.layer
        return layer.forward


def together(rows: Sequence[Tensor]) -> Tensor:
    """A batch of each replicate, in the shape that the layers take."""
    return torch.cat(list(rows), 1) if rows[0].dim() == 4 else torch.stack(list(rows))


def close(found: Tensor, expected: Tensor) -> None:
    exact = expected.dtype == torch.float64
    rtol, atol = (1e-10, 1e-10) if exact else (1e-4, 1e-4)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def check(of: Case, channels_last: bool) -> None:
    """Two micro-batches, of which the second adds its gradient; then an evaluation."""
    stacked = Stacked(of.modules, channels_last)
    rows = range(len(of.modules))
    for module in of.modules:
        module.train()
        for parameter in module.parameters():
            parameter.grad = None
    for scale, write in ((1.0, True), (-0.6, False)):
        inputs = [(scale * x).requires_grad_() for x in of.inputs]
        outputs = [of.modules[row](inputs[row]) for row in rows]
        for row in rows:
            outputs[row].backward(of.back[row])
        x = together([x.detach().clone() for x in inputs])
        if channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        close(stacked.forward(x, True), together([y.detach() for y in outputs]))
        expected = together([x.grad for x in inputs if x.grad is not None])
        close(stacked.layer.backward(together(of.back).clone(), True, write), expected)
    parameters = zip(*(module.parameters() for module in of.modules), strict=True)
    for gradient, alike in zip(stacked.gradients, parameters, strict=True):
        close(gradient, torch.stack([p.grad for p in alike if p.grad is not None]))
    check_what_is_kept(of, stacked)
    check_evaluation(of, stacked)


def check_what_is_kept(of: Case, stacked: Stacked) -> None:
    """Running statistics, and the number of batches, which is whole."""
    buffers = list(zip(*(module.buffers() for module in of.modules), strict=True))
    assert len(buffers) == len(stacked.buffers)
    for kept, alike in zip(stacked.buffers, buffers, strict=True):
        if kept.is_floating_point():
            close(kept, torch.stack(alike))
        else:
            assert torch.equal(kept, torch.stack(alike))
            assert kept.tolist() == [2] * len(of.modules)


def check_evaluation(of: Case, stacked: Stacked) -> None:
    before = [buffer.clone() for buffer in stacked.buffers]
    with torch.no_grad():
        expected = [module.eval()(x) for module, x in zip(of.modules, of.inputs, strict=True)]
    close(stacked.forward(together([x.clone() for x in of.inputs]), False), together(expected))
    assert all(map(torch.equal, before, stacked.buffers))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("replicates", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_the_module_of_each_replicate(
    name: str, dtype: torch.dtype, replicates: int, channels_last: bool
) -> None:
    for bias in (True, False):
        check(cast(case(name, replicates, 5, (3, 4), bias), dtype), channels_last)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([*LAYERS]),
    replicates=st.integers(1, 4),
    batch=st.integers(2, 9),
    widths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_a_layer_of_any_width(
    name: str,
    replicates: int,
    batch: int,
    widths: tuple[int, int],
    bias: bool,
    channels_last: bool,
) -> None:
    check(case(name, replicates, batch, widths, bias), channels_last)


@pytest.mark.parametrize("name", ["linear", "convolution", "batch norm"])
def test_a_parameter_gets_its_gradient_where_that_of_the_input_is_not_needed(name: str) -> None:
    of = case(name, 2, 5, (3, 4), True)
    found = []
    for needed in (True, False):
        stacked = Stacked(of.modules, False)
        stacked.forward(together(of.inputs), True)
        stacked.layer.backward(together(of.back), needed, False)
        found.append(stacked.gradients)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize(
    "module",
    [
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Conv2d(2, 4, 3, groups=2),
        nn.Conv2d(2, 4, 3, dilation=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.MaxPool2d(3),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(2),
        ResidualBlock(nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1)), nn.Sequential()),
        ResidualBlock(nn.Sequential(nn.Conv2d(2, 2, 1)), nn.Sequential(nn.ReLU())),
        ResidualBlock(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh()), nn.Sequential()),
        ResidualBlock(nn.Sequential(), nn.Sequential()),
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.BatchNorm2d(2, momentum=None),
        nn.Flatten(2),
    ],
    ids=str,
)
def test_modules_that_are_not_written_out_have_no_layer(module: nn.Module) -> None:
    windows = ((p.detach()[None], p.detach()[None]) for p in module.parameters())
    buffers = (buffer[None] for buffer in module.buffers())
    network = nn.Sequential(module)
    assert layers_of(network, lambda: next(windows), buffers, 1, False) is None

"""Builds the networks that `engine.networks` describes. None has dropout: a trial is repeatable."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks import layer_specs as specs
from batchscope.engine.networks.initialization import Initialization, Scheme, initialization_of
from batchscope.engine.networks.registry import family_of
from batchscope.engine.spec import Model
from batchscope.engine.training.model.modules import (
    ResidualBlock,
    norm_of_channels,
    norm_of_features,
)


def build_model(model: Model, dataset: Dataset, seed: int) -> nn.Sequential:
    """Return a freshly initialized network on the CPU; the seed alone decides its weights.

    Args:
        model: the `[model]` table; its family describes the layers and the default initialization.
        dataset: decides the shape of the images and the number of outputs.
        seed: seeds the draws. The global random generator of torch is not changed.
    """
    family = family_of(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = family.layers(model, dataset.shape, dataset.classes)
        network = modules_of(layers, dataset.shape)
        _initialize(network, initialization_of(model, family.initialization))
        return network


def modules_of(layers: Sequence[specs.LayerSpec], shape: specs.Shape) -> nn.Sequential:
    """Return a torch module for each layer, drawn by torch's own initialization in their order.

    Args:
        layers: descriptions of the layers.
        shape: of the input of the first layer, without the batch: (C, H, W) or (F,).
    """
    return nn.Sequential(*(_module(*each) for each in specs.with_inputs(layers, shape)))


def _module(layer: specs.LayerSpec, shape: specs.Shape) -> nn.Module:
    """Return the module of one layer with an input of this shape."""
    match layer:
        case specs.Conv(outputs, kernel, stride, padding, bias):
            return nn.Conv2d(shape[0], outputs, kernel, stride, padding, bias=bias)
        case specs.Linear(outputs, bias):
            return nn.Linear(shape[0], outputs, bias=bias)
        case specs.BatchNorm(ghost_batch_size):
            norm = norm_of_features if len(shape) == 1 else norm_of_channels
            return norm(shape[0], ghost_batch_size)
        case specs.ReLU():
            return nn.ReLU()
        case specs.MaxPool():
            return nn.MaxPool2d(2)
        case specs.GlobalMean():
            return nn.AdaptiveAvgPool2d(1)
        case specs.Flatten():
            return nn.Flatten()
        case specs.Residual(body, shortcut):
            return ResidualBlock(modules_of(body, shape), modules_of(shortcut, shape))
    raise TypeError(f"no module for {layer}")


_DRAW: dict[Scheme, Callable[[Tensor], object]] = {
    "glorot-uniform": nn.init.xavier_uniform_,
    "he-normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "he-normal-fan-out": lambda weight: nn.init.kaiming_normal_(
        weight, mode="fan_out", nonlinearity="relu"
    ),
    "normal-0.01": lambda weight: nn.init.normal_(weight, 0, 0.01),
}


def _initialize(network: nn.Module, initialization: Initialization) -> None:
    """Draw the weights of convolutions and fully connected layers, and zero their biases.

    Layers with the scheme `torch` keep what their construction drew.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            scheme = initialization.convolutions
        elif isinstance(layer, nn.Linear):
            scheme = initialization.linear
        else:
            continue
        if scheme != "torch":
            _DRAW[scheme](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

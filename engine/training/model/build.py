"""The built-in networks. None has dropout: the same trial must give the same bits."""

from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks.architectures import DEEP, VGGS, channels_of, hidden_of
from batchscope.engine.spec import Model
from batchscope.engine.training.model.modules import norm_of_channels, norm_of_features
from batchscope.engine.training.model.vgg_resnet import (
    build_resnet,
    build_vgg,
    initialize_as_torchvision,
)


def build_model(model: Model, dataset: Dataset, seed: int) -> nn.Module:
    """A freshly initialized network on the CPU; the seed alone decides its weights.

    `model.init` is torch's default (Kaiming-uniform with a = sqrt(5), biases uniform), of VGG and
    ResNet that of torchvision (`initialize_as_torchvision`), `glorot` (uniform, Glorot & Bengio
    2010) or `he` (normal, He et al. 2015); with the last two biases are zero.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = _build(model, dataset)
        if model.init != "default":
            _initialize(built, model.init)
        elif model.name in DEEP:
            initialize_as_torchvision(built, model.name)
        return built


def _build(model: Model, dataset: Dataset) -> nn.Sequential:
    if model.name in VGGS:
        return build_vgg(model, dataset)
    if model.name == "resnet18":
        return build_resnet(model, dataset)
    return _build_plain(model, dataset)


def _build_plain(model: Model, dataset: Dataset) -> nn.Sequential:
    channels, height, width = dataset.shape
    layers: list[nn.Module] = []
    bias = not model.batch_norm  # its shift would take the place of a bias
    for index, after in enumerate(channels_of(model)):
        kernel, padding = _kernel(model, index)
        layers.append(nn.Conv2d(channels, after, kernel, padding=padding, bias=bias))
        if model.batch_norm:
            layers.append(norm_of_channels(after, model.ghost_batch_size))
        # ReLU after pooling gives what it gives before (both are monotone), on a quarter
        layers += [nn.MaxPool2d(2), nn.ReLU()]
        lost = kernel - 1 - 2 * padding
        channels, height, width = after, (height - lost) // 2, (width - lost) // 2
    layers.append(nn.Flatten())
    widths = (channels * height * width, *hidden_of(model))
    for before, after in pairwise(widths):
        layers.append(nn.Linear(before, after, bias=bias))
        if model.batch_norm:
            layers.append(norm_of_features(after, model.ghost_batch_size))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-1], dataset.classes))
    return nn.Sequential(*layers)


def _initialize(built: nn.Module, init: Literal["glorot", "he"]) -> None:
    for layer in built.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if init == "glorot":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _kernel(model: Model, index: int) -> tuple[int, int]:
    """Kernel size and padding: LeNet-5 (LeCun et al. 1998) pads its first 5×5 layer only."""
    if model.name == "lenet":
        return 5, 2 if index == 0 else 0
    return 3, 1

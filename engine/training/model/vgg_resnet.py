"""VGG-16 and ResNet-18 for small images, built as `engine.networks.vgg_resnet` describes them."""

from itertools import pairwise

from torch import nn

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks.architectures import has_batch_norm, hidden_of
from batchscope.engine.networks.vgg_resnet import RESNET_STAGES, Block, resnet, scaled, vgg
from batchscope.engine.spec import Model
from batchscope.engine.training.model.modules import ResidualBlock, norm_of_channels


def build_vgg(model: Model, dataset: Dataset) -> nn.Sequential:
    """VGG-16, with batch norm or without."""
    layers: list[nn.Module] = []
    normalized = has_batch_norm(model)
    height, width = dataset.shape[1:]
    for each in vgg(model.width, dataset.shape):
        layers.append(nn.Conv2d(each.inputs, each.outputs, 3, padding=1, bias=not normalized))
        if normalized:
            layers.append(norm_of_channels(each.outputs, model.ghost_batch_size))
        if each.pooled:
            layers.append(nn.MaxPool2d(2))  # before ReLU, which gives the same on a quarter
            height, width = height // 2, width // 2
        layers.append(nn.ReLU())
        channels = each.outputs
    layers.append(nn.Flatten())
    widths = (channels * height * width, *hidden_of(model))
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], dataset.classes))


def build_resnet(model: Model, dataset: Dataset) -> nn.Sequential:
    """ResNet-18."""
    ghost, channels = model.ghost_batch_size, scaled(RESNET_STAGES[0], model.width)
    layers: list[nn.Module] = [
        nn.Conv2d(dataset.shape[0], channels, 3, padding=1, bias=False),
        norm_of_channels(channels, ghost),
        nn.ReLU(),
    ]
    for block in resnet(model.width):
        layers += [_block(block, ghost), nn.ReLU()]
        channels = block.outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, dataset.classes)]
    return nn.Sequential(*layers)


def initialize_as_torchvision(network: nn.Sequential, name: str) -> None:
    """As torchvision begins: convolutions Kaiming-normal by their fan out, without biases.

    Of VGG the fully connected weights are normal with a deviation of 0.01, without biases; that of
    ResNet is torch's default. Batch norm scales by 1 and shifts by 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear) and name != "resnet18":
            nn.init.normal_(layer.weight, 0, 0.01)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _block(block: Block, ghost: int | None) -> ResidualBlock:
    """Two convolutions of 3×3, and beside them the identity or a projection."""
    first = nn.Conv2d(block.inputs, block.outputs, 3, block.stride, padding=1, bias=False)
    second = nn.Conv2d(block.outputs, block.outputs, 3, padding=1, bias=False)
    norms = [norm_of_channels(block.outputs, ghost) for _ in range(2)]
    shortcut: list[nn.Module] = []
    if block.projects:
        projection = nn.Conv2d(block.inputs, block.outputs, 1, block.stride, bias=False)
        shortcut = [projection, norm_of_channels(block.outputs, ghost)]
    body = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])
    return ResidualBlock(body, nn.Sequential(*shortcut))

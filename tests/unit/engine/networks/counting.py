"""Counts the multiply-adds of a network while an image passes through it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def counted_multiply_adds(network: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds of one image of this shape, counted by hooks on the modules."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.in_channels * math.prod(layer.kernel_size)
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features

    for layer in network.modules():
        layer.register_forward_hook(count)
    network.eval()(torch.zeros(1, *shape))
    return total

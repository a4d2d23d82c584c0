"""Modules that the networks need and torch does not have."""

import torch
from torch import Tensor, nn

from batchscope.engine.planning.batch_norm import groups


class ResidualBlock(nn.Module):
    """y = body(x) + shortcut(x), as in He et al. 2015 (arXiv:1512.03385, eq. 1 and 2).

    An empty shortcut is the identity. The ReLU behind the sum is a module of its own.
    """

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, of the shape of the body's output."""
        result: Tensor = self.body(x) + self.shortcut(x)
        return result


class GhostBatchNorm1d(nn.BatchNorm1d):
    """Ghost batch norm of features (B, F); `engine.planning.batch_norm` defines the groups."""

    def __init__(self, features: int, ghost_batch_size: int) -> None:
        super().__init__(features)
        self.ghost_batch_size = ghost_batch_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalize group by group in training, and by running statistics in evaluation."""
        return torch.cat(
            [super(GhostBatchNorm1d, self).forward(part) for part in _parts(self, input)]
        )


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Ghost batch norm of images (B, C, H, W); `engine.planning.batch_norm` defines the groups."""

    def __init__(self, channels: int, ghost_batch_size: int) -> None:
        super().__init__(channels)
        self.ghost_batch_size = ghost_batch_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalize group by group in training, and by running statistics in evaluation."""
        return torch.cat(
            [super(GhostBatchNorm2d, self).forward(part) for part in _parts(self, input)]
        )


GhostBatchNorm = GhostBatchNorm1d | GhostBatchNorm2d


def _parts(module: GhostBatchNorm, x: Tensor) -> tuple[Tensor, ...]:
    return torch.split(x, groups(len(x), module.ghost_batch_size)) if module.training else (x,)


def norm_of_features(features: int, ghost_batch_size: int | None) -> nn.BatchNorm1d:
    """Return the batch norm behind a fully connected layer."""
    if ghost_batch_size is None:
        return nn.BatchNorm1d(features)
    return GhostBatchNorm1d(features, ghost_batch_size)


def norm_of_channels(channels: int, ghost_batch_size: int | None) -> nn.BatchNorm2d:
    """Return the batch norm behind a convolution."""
    if ghost_batch_size is None:
        return nn.BatchNorm2d(channels)
    return GhostBatchNorm2d(channels, ghost_batch_size)

"""Batch norm, forward and backward, for R replicates at once."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from batchscope.engine.planning.batch_norm import groups
from batchscope.engine.training.model.batch_norm_sums import normalize, normalize_backward
from batchscope.engine.training.model.layer import Window, put
from batchscope.engine.training.model.modules import GhostBatchNorm

_aten = torch.ops.aten


class BatchNorm:
    """Batch normalization (Ioffe & Szegedy 2015), with statistics of their own for each replicate.

    Images have the shape (B, R·C, H, W), features (R, B, F). Ghost batch norm normalizes the images
    group by group (`engine.planning.batch_norm`), and each group updates the running statistics.
    """

    def __init__(
        self,
        scale: Window,
        shift: Window,
        running: tuple[Tensor, Tensor, Tensor],
        module: nn.BatchNorm1d | nn.BatchNorm2d,
    ) -> None:
        """Read the settings from a module of torch.

        Args:
            scale: the scales, shape (R, C), with their gradient.
            shift: the shifts, shape (R, C), with their gradient.
            running: mean and variance, shape (R, C), and the number of batches, shape (R,).
            module: decides momentum, epsilon, the group size, and whether the input is features.
        """
        self._scale, self._shift = scale, shift
        # views, so that the layer updates the buffers themselves
        self._mean, self._variance = running[0].view(-1), running[1].view(-1)
        self._batches = running[2]
        assert module.momentum is not None
        self._momentum, self._epsilon = module.momentum, module.eps
        self._features = isinstance(module, nn.BatchNorm1d)
        self._group = module.ghost_batch_size if isinstance(module, GhostBatchNorm) else None
        self._kept: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the normalized input, of the same shape."""
        x, shape = self._channels(x), x.shape
        scale, shift = self._scale[0].flatten(), self._shift[0].flatten()
        outputs, kept = [], list[tuple[Tensor, ...]]()
        for part in self._parts(x) if training else ():
            y, mean, inverse = normalize(
                part, scale, shift, (self._mean, self._variance), self._momentum, self._epsilon
            )
            self._batches += 1
            outputs.append(y)
            kept.append((part, scale, mean, inverse))
        if not training:
            y, _, _ = _aten.native_batch_norm(
                x, scale, shift, self._mean, self._variance, False, 0.0, self._epsilon
            )
            outputs.append(y)
        self._kept = kept
        return self._back(_together(outputs), shape)

    def backward(self, d: Tensor, needed: bool, write: bool) -> Tensor:
        """Return the gradient of the input, of the same shape."""
        kept, self._kept, shape = self._kept, [], d.shape
        inputs = []
        parts = self._parts(self._channels(d))
        for part, (x, scale, mean, inverse) in zip(parts, kept, strict=True):
            before, of_scale, of_shift = normalize_backward(
                part, x, scale, mean, inverse, self._epsilon
            )
            inputs.append(before)
            put(self._scale[1], of_scale, write)
            put(self._shift[1], of_shift, write)
            write = False
        return self._back(_together(inputs), shape)

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the parts of (B, ...) that are normalized separately."""
        if self._group is None or self._group >= len(x):
            return iter((x,))
        return iter(torch.split(x, groups(len(x), self._group)))

    def _channels(self, x: Tensor) -> Tensor:
        """Reshape features (R, B, F) to (B, R·F); leave images unchanged."""
        return x.transpose(0, 1).flatten(1) if self._features else x

    def _back(self, x: Tensor, shape: torch.Size) -> Tensor:
        """Undo `_channels`."""
        if not self._features:
            return x
        replicates, _, features = shape
        return x.view(-1, replicates, features).transpose(0, 1)


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)

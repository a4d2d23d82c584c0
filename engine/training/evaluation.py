"""Loss and accuracy at fixed weights."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Figures(NamedTuple):
    """Mean cross-entropy per sample (nats) and the fraction classified right."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Figures:
    """Evaluate on batches of (images, labels); losses are summed in float64."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += functional.cross_entropy(logits, labels, reduction="sum").double().item()
        right += int((logits.argmax(1) == labels).sum().item())
        count += len(labels)
    model.train()
    return Figures(loss / count, right / count)

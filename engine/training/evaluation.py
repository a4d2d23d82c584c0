"""Loss and accuracy at fixed weights."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from engine.training.flat import FlatModel


class Figures(NamedTuple):
    """Mean cross-entropy per sample (nats) and the fraction classified right."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(flat: FlatModel, batches: Iterable[tuple[Tensor, Tensor]]) -> Figures:
    """Evaluate on batches of (images, labels); losses are summed in float64."""
    flat.model.eval()
    loss, right, count = 0.0, 0, 0
    for images, labels in batches:
        logits = flat.logits(images)
        loss += functional.cross_entropy(logits, labels, reduction="sum").double().item()
        right += int((logits.argmax(1) == labels).sum().item())
        count += len(labels)
    flat.model.train()
    return Figures(loss / count, right / count)

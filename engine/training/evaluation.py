"""Loss and accuracy at fixed weights."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from engine.training.passes import Pass


class Figures(NamedTuple):
    """Mean cross-entropy per sample (nats) and the fraction classified right."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    passes: Pass,
    batches: Iterable[tuple[Tensor, Tensor]],
    missed: list[Tensor] | None = None,
) -> list[Figures]:
    """Evaluate every replicate on batches of (images, labels); losses are summed in float64.

    To `missed` is added for each batch what it is off by, (R, images) uint8: (predicted − label)
    mod classes. The device is waited for once, at the end.
    """
    totals, count = None, 0
    for images, labels in batches:
        logits = passes.logits(images)
        replicates, size, _ = logits.shape
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels.repeat(replicates), reduction="none"
        )
        predicted = logits.argmax(2)
        right = (predicted == labels).sum(1)
        if missed is not None:
            missed.append(((predicted - labels) % logits.shape[2]).to(torch.uint8))
        sums = torch.stack([losses.view(replicates, size).double().sum(1), right.double()], 1)
        totals = sums if totals is None else totals + sums
        count += size
    assert totals is not None, "there are images"
    return [Figures(loss / count, right / count) for loss, right in totals.tolist()]

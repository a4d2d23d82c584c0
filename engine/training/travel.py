"""How far the weights travel: norms of single updates, and the length of the path they make.

A difference of all weights costs about as much as a small network's optimizer step, so only
every N-th update is measured, at least once an epoch and some 500 times a run; the path length
is their mean times the number of updates. N has no divisor in common with the steps of an epoch and
goes on counting from one to the next, so that a smaller last batch is measured neither always nor
never.
"""

from math import gcd
from typing import Any

import torch
from torch import Tensor

MOST_APART = 16
SAMPLES_PER_RUN = 500


class Travel:
    """Follows weights (P,) through the steps of a training.

    Attributes:
        path_length: estimated sum of the L2 norms of all updates so far.
    """

    def __init__(self, weights: Tensor, per_epoch: int, total_steps: int | None) -> None:
        apart = MOST_APART if total_steps is None else total_steps // SAMPLES_PER_RUN
        most = max(1, min(MOST_APART, per_epoch, apart))
        self.every = next(every for every in range(most, 0, -1) if gcd(every, per_epoch) == 1)
        self.path_length = 0.0
        self._weights = weights
        self._before = torch.empty_like(weights)
        self._norms = torch.empty(-(-per_epoch // self.every), device=weights.device)
        self._steps = self._measured = 0
        self._sum, self._count, self._mean = 0.0, 0, 0.0

    def before_step(self) -> None:
        """Keep the weights, if the coming update is one of those that are measured."""
        if self._steps % self.every == 0:
            self._before.copy_(self._weights)

    def after_step(self) -> None:
        """Measure the update just made, if its weights were kept."""
        if self._steps % self.every == 0:
            self._norms[self._measured] = torch.dist(self._weights, self._before)
            self._measured += 1
        self._steps += 1

    def end_epoch(self) -> float:
        """Mean norm of the epoch's measured updates, which also lengthens the path.

        An epoch that was cut short before any was measured has that of the one before.
        """
        if self._measured:
            total = float(self._norms[: self._measured].double().sum())
            self._sum, self._count = self._sum + total, self._count + self._measured
            self._mean = total / self._measured
            self._measured = 0
        self.path_length = self._sum / self._count * self._steps
        return self._mean

    def held(self) -> list[Tensor]:
        """The tensors that it keeps."""
        return [self._before, self._norms]

    def state(self) -> dict[str, Any]:
        """What it has measured so far, between two steps."""
        return {
            "norms": self._norms[: self._measured].clone(),
            "counts": (self._steps, self._measured, self._count),
            "sums": (self._sum, self._mean, self.path_length),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what was measured before."""
        self._steps, self._measured, self._count = state["counts"]
        self._sum, self._mean, self.path_length = state["sums"]
        self._norms[: self._measured].copy_(state["norms"])

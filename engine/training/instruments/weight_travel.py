"""How far the weights travel: norms of single updates, and the length of the path they make.

A difference of all weights costs about as much as a small network's optimizer step, so only
every N-th update is measured, at least once an epoch and some 500 times a run; the path length
is their mean times the number of updates. N has no divisor in common with the steps of an epoch and
goes on counting from one to the next, so that a smaller last batch is measured neither always nor
never.

Plain gradient descent needs none of it: there an update is the gradient times the rate, and so the
norm is known.
"""

from math import gcd
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.engine.training.instruments.grad_norms import Lengths

MOST_APART = 16
SAMPLES_PER_RUN = 500


def _apart(per_epoch: int, total_steps: int | None) -> int:
    """Steps from one measured update to the next.

    A little fewer than wanted, or a little more, and all of them only where nothing else will do:
    an epoch of 840 steps has a divisor in common with every number up to 8.
    """
    wanted = MOST_APART if total_steps is None else total_steps // SAMPLES_PER_RUN
    wanted = max(1, min(MOST_APART, per_epoch, wanted))
    near = [*range(wanted, wanted // 2, -1), *range(wanted + 1, min(2 * wanted, per_epoch))]
    return next((every for every in near if gcd(every, per_epoch) == 1), 1)


class Travel:
    """Follows weights (R, P), a row for each replicate, through the steps of a training."""

    def __init__(self, weights: Tensor, per_epoch: int, total_steps: int | None) -> None:
        self.every = _apart(per_epoch, total_steps)
        self._weights = weights
        self._before = torch.empty_like(weights)
        self._norms = torch.empty(
            (-(-per_epoch // self.every), len(weights)), device=weights.device
        )
        self._steps = self._measured = 0
        self._count, self._sums, self._means = 0, [0.0] * len(weights), [0.0] * len(weights)

    def before_step(self) -> None:
        """Keep the weights, if the coming update is one of those that are measured."""
        if self._steps % self.every == 0:
            self._before.copy_(self._weights)

    def after_step(self, at: int, lr: float) -> None:
        """Measure the update just made, if its weights were kept."""
        if self._steps % self.every == 0:
            update = torch.sub(self._weights, self._before, out=self._before)
            torch.linalg.vector_norm(update, dim=1, out=self._norms[self._measured])
            self._measured += 1
        self._steps += 1

    def close_slice(self) -> None:
        """Slices of norms do not matter here."""

    def of(self, replicate: int) -> tuple[float, float]:
        """Mean norm of the epoch's updates measured so far, and the length of the path by now.

        The path is the sum of the L2 norms of all updates, estimated. An epoch that was cut short
        before any was measured has the mean of the one before.
        """
        total, count, mean = self._sums[replicate], self._count, self._means[replicate]
        if self._measured:
            epoch = float(self._norms[: self._measured, replicate].double().sum())
            total, count, mean = total + epoch, count + self._measured, epoch / self._measured
        return mean, (total / count if count else 0.0) * self._steps

    def end_epoch(self) -> None:
        """Put what the epoch measured to that of the epochs before, and begin anew."""
        if not self._measured:
            return
        totals = self._norms[: self._measured].double().sum(0).tolist()
        self._sums = [one + other for one, other in zip(self._sums, totals, strict=True)]
        self._means = [total / self._measured for total in totals]
        self._count, self._measured = self._count + self._measured, 0

    def held(self) -> list[Tensor]:
        """The tensors that it keeps."""
        return [self._before, self._norms]

    def state(self) -> dict[str, Any]:
        """What it has measured so far, between two steps."""
        return {
            "norms": self._norms[: self._measured].clone(),
            "counts": (self._steps, self._measured, self._count),
            "sums": (self._sums, self._means),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what was measured before."""
        self._steps, self._measured, self._count = state["counts"]
        self._sums, self._means = map(list, state["sums"])
        self._norms[: self._measured].copy_(state["norms"])


class Descent:
    """The same of plain gradient descent: every update is lr times the gradient, of known norms.

    They are summed where a slice of `lengths` ends, or somebody asks.
    """

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self._rates = np.zeros((len(lengths), 1))
        self._open = self._steps = self._steps_before = 0
        self._length = np.zeros(lengths.kept.shape[1])
        self._before = self._length

    def before_step(self) -> None:
        """Nothing is to be kept."""

    def after_step(self, at: int, lr: float) -> None:
        """Lengthen the path by lr times the gradient whose norms are kept `at`."""
        self._rates[at] = lr
        self._open, self._steps = at + 1, self._steps + 1

    def close_slice(self) -> None:
        """Norms are kept from the beginning again."""
        self._length, self._open = self._whole(), 0

    def of(self, replicate: int) -> tuple[float, float]:
        """Mean norm of the epoch's updates, and the length of the path by now."""
        length = float(self._whole()[replicate])
        steps = self._steps - self._steps_before
        return (length - float(self._before[replicate])) / max(1, steps), length

    def end_epoch(self) -> None:
        """Begin the epoch's mean anew."""
        self._before, self._steps_before = self._whole(), self._steps

    def held(self) -> list[Tensor]:
        """The tensors that it keeps."""
        return []

    def state(self) -> dict[str, Any]:
        """How far it is."""
        return {
            "counts": (self._steps, self._steps_before),
            "length": self._length.tolist(),
            "before": self._before.tolist(),
            "rates": self._rates[: self._open].tolist(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._steps, self._steps_before = state["counts"]
        self._length, self._before = np.array(state["length"]), np.array(state["before"])
        self._open = len(state["rates"])
        self._rates[: self._open] = np.reshape(state["rates"], (-1, 1))

    def _whole(self) -> NDArray[np.float64]:
        """The length of each path, (R,)."""
        updates = self._lengths.of(self._open) * self._rates[: self._open]
        whole: NDArray[np.float64] = self._length + updates.sum(0)
        return whole

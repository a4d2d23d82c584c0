"""Measures how far the weights travel: norms of single updates, and the length of their path.

A difference of all weights costs about as much as a small network's optimizer step, so only
every N-th update is measured (`sampling.steps_apart`); the path length is the mean norm times the
number of updates. The count continues from one epoch to the next.

Plain gradient descent needs no sampling: an update is the gradient times the learning rate, so its
norm is known.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.engine.training.instruments.grad_norms import GradientNorms
from batchscope.engine.training.instruments.instrument import Instrument, Step, TrainingView
from batchscope.engine.training.instruments.sampling import steps_apart

NAME = "weight_travel"


def weight_travel(view: TrainingView, norms: GradientNorms) -> Instrument:
    """Return the instrument for the path length: exact for plain SGD, else sampled."""
    if view.plain:
        return DescentTravel(norms)
    return SampledTravel(view.weights, view.epoch_steps, view.total_steps)


class SampledTravel(Instrument):
    """Measures every `every`-th update of weights (R, P), with any optimizer.

    Args:
        weights: shape (R, P), a row for each replicate.
        per_epoch: the most steps of an epoch.
        total_steps: steps of the training; None where unknown.
    """

    NAME = NAME

    def __init__(self, weights: Tensor, per_epoch: int, total_steps: int | None) -> None:
        self.every = steps_apart(per_epoch, total_steps)
        self._weights = weights
        self._before = torch.empty_like(weights)
        self._norms = torch.empty(
            (-(-per_epoch // self.every), len(weights)), device=weights.device
        )
        self._steps = self._measured = 0
        self._count, self._sums, self._means = 0, [0.0] * len(weights), [0.0] * len(weights)

    def before_step(self, step: Step | None = None) -> None:
        """Copy the weights, if the next update is one of those that are measured."""
        if self._steps % self.every == 0:
            self._before.copy_(self._weights)

    def after_step(self, step: Step | None = None) -> None:
        """Compute the norm of the update just made, if the weights before it were copied."""
        if self._steps % self.every == 0:
            if self._measured == len(self._norms):  # no epoch has ended for a while
                self.end_epoch()
            update = torch.sub(self._weights, self._before, out=self._before)
            torch.linalg.vector_norm(update, dim=1, out=self._norms[self._measured])
            self._measured += 1
        self._steps += 1

    def of(self, replicate: int) -> tuple[float, float]:
        """Return the mean norm of the updates measured in this epoch, and the path length so far.

        The path length is the sum of the L2 norms of all updates, estimated from those measured. An
        epoch that ended before any was measured has the mean of the epoch before.
        """
        total, count, mean = self._sums[replicate], self._count, self._means[replicate]
        if self._measured:
            epoch = float(self._norms[: self._measured, replicate].double().sum())
            total, count, mean = total + epoch, count + self._measured, epoch / self._measured
        return mean, (total / count if count else 0.0) * self._steps

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return `update_norm_mean` and `path_length`; None where not finite."""
        return _fields(*self.of(replicate))

    def end_epoch(self) -> None:
        """Add the measurements of the epoch to those of earlier epochs."""
        if not self._measured:
            return
        totals = self._norms[: self._measured].double().sum(0).tolist()
        self._sums = [one + other for one, other in zip(self._sums, totals, strict=True)]
        self._means = [total / self._measured for total in totals]
        self._count, self._measured = self._count + self._measured, 0

    def held(self) -> list[Tensor]:
        """Return the tensors that are kept from step to step."""
        return [self._before, self._norms]

    def state(self) -> dict[str, Any]:
        """Return the measurements so far, between two steps."""
        return {
            "norms": self._norms[: self._measured].clone(),
            "counts": (self._steps, self._measured, self._count),
            "sums": (self._sums, self._means),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self._steps, self._measured, self._count = state["counts"]
        self._sums, self._means = map(list, state["sums"])
        self._norms[: self._measured].copy_(state["norms"])


class DescentTravel(Instrument):
    """Measures the updates of plain gradient descent: lr times the gradient, with known norm.

    Args:
        norms: keeps the norms of the gradients of the present slice, for each of R replicates.
    """

    NAME = NAME

    def __init__(self, norms: GradientNorms) -> None:
        self._norms = norms
        self._rates = np.zeros((len(norms), 1))
        self._open = self._steps = self._steps_before = 0
        self._length = np.zeros(norms.kept.shape[1])
        self._before = self._length

    def after_step(self, step: Step) -> None:
        """Store the learning rate of a step in the slot that has its gradient norms."""
        self._rates[step.slot] = step.lr
        self._open, self._steps = step.slot + 1, self._steps + 1

    def end_slice(self) -> None:
        """Add the updates of the slice to the path."""
        self._length, self._open = self._path(), 0

    def of(self, replicate: int) -> tuple[float, float]:
        """Return the mean norm of the epoch's updates, and the path length so far."""
        length = float(self._path()[replicate])
        steps = self._steps - self._steps_before
        return (length - float(self._before[replicate])) / max(1, steps), length

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return `update_norm_mean` and `path_length`; None where not finite."""
        return _fields(*self.of(replicate))

    def end_epoch(self) -> None:
        """Reset the mean for the next epoch."""
        self._before, self._steps_before = self._path(), self._steps

    def state(self) -> dict[str, Any]:
        """Return the sums so far, between two steps."""
        return {
            "counts": (self._steps, self._steps_before),
            "length": self._length.tolist(),
            "before": self._before.tolist(),
            "rates": self._rates[: self._open].tolist(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self._steps, self._steps_before = state["counts"]
        self._length, self._before = np.array(state["length"]), np.array(state["before"])
        self._open = len(state["rates"])
        self._rates[: self._open] = np.reshape(state["rates"], (-1, 1))

    def _path(self) -> NDArray[np.float64]:
        """Return the length of each path, shape (R,)."""
        updates = self._norms.of(self._open) * self._rates[: self._open]
        path: NDArray[np.float64] = self._length + updates.sum(0)
        return path


def _fields(update_norm: float, path_length: float) -> dict[str, Any]:
    return {
        "update_norm_mean": update_norm if math.isfinite(update_norm) else None,
        "path_length": path_length if math.isfinite(path_length) else None,
    }

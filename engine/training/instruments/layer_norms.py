"""Measures gradient norms by layer: how the gradient is shared among the layers of a network.

For a layer l with the gradient g_l of its weights and biases, |g|² = Σ_l |g_l|² exactly, since the
layers divide the weights among them. Norms are taken at every N-th step
(`sampling.steps_apart`), and their moments are reported at the end of an epoch. To keep the journal
of long runs short, an epoch reports them only if at least 1 % of all steps so far were taken since
the last report; until then they accumulate.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.engine.journal.events import LayerNorm
from batchscope.engine.training.instruments.instrument import Instrument, Step, TrainingView
from batchscope.engine.training.instruments.sampling import steps_apart

LEAST_APART = 16
APART_WITHOUT_GRADIENT = 64
"""Steps between two measurements where the gradient has to be computed for them alone."""
STATED_SHARE = 0.01


class LayerNorms(Instrument):
    """Measures the norm of each layer's part of the gradients (R, P) at every `every`-th step.

    Args:
        gradient: the buffer, shape (R, P).
        layers: the part of each of L layers in a row of it.
        slice_steps: the most steps between two calls of `end_slice`.
        every: steps from one measurement to the next.
    """

    NAME = "layer_norms"

    def __init__(
        self, gradient: Tensor, layers: Sequence[slice], slice_steps: int, every: int
    ) -> None:
        self.every = every
        replicates = len(gradient)
        rows = -(-slice_steps // every)
        self._shape = replicates, len(layers)
        self._kept = torch.zeros((rows, *self._shape), device=gradient.device)
        self._parts = [row[layer] for row in gradient for layer in layers]
        self._host: NDArray[np.float32] | None = None
        if gradient.device.type == "cpu":
            self._host = self._kept.numpy().reshape(rows, -1)
            self._arrays = [part.numpy() for part in self._parts]
        self._filled = self._last = self._stated = self._count = 0
        self._mean, self._squares = np.zeros(self._shape), np.zeros(self._shape)

    @classmethod
    def of(cls, view: TrainingView) -> "LayerNorms":
        """Build the instrument for a training."""
        every = steps_apart(view.epoch_steps, view.total_steps, least=LEAST_APART)
        if view.descends:
            every = min(APART_WITHOUT_GRADIENT, view.epoch_steps)
        layers = [layer.window for layer in view.layers]
        return cls(view.gradient, layers, view.slice_steps, every)

    def needs_gradient(self, step: Step) -> bool:
        """Return whether this step is measured."""
        return (step.number - 1) % self.every == 0

    def before_step(self, step: Step) -> None:
        """Store the norms of the present gradient, if this step is measured."""
        self._last = step.number
        if (step.number - 1) % self.every == 0:
            self._take()

    @np.errstate(over="ignore", invalid="ignore")  # a norm may overflow: it counts as not finite
    def _take(self) -> None:
        if self._filled == len(self._kept):
            self._summarize()
        if self._host is not None:
            self._host[self._filled] = [math.sqrt(np.dot(part, part)) for part in self._arrays]
        else:
            norms = torch.stack(list(torch._foreach_norm(self._parts)))
            self._kept[self._filled] = norms.view(self._shape)
        self._filled += 1

    def end_slice(self) -> None:
        """Merge the norms kept since the last slice into their moments."""
        self._summarize()

    def end_epoch(self) -> None:
        """Set the moments to zero after an epoch that reported them."""
        if self._is_due():
            self._stated, self._count = self._last, 0
            self._mean, self._squares = np.zeros(self._shape), np.zeros(self._shape)

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return the number of measured steps, and mean and squared deviations of each layer.

        The deviations are summed over the steps. An epoch that reports no norms has no fields.
        """
        self._summarize()
        if not self._count or not self._is_due():
            return {}
        mean, squares = self._mean[replicate].tolist(), self._squares[replicate].tolist()
        return {"layer_draws": self._count, "layer_norms": tuple(map(LayerNorm, mean, squares))}

    def held(self) -> list[Tensor]:
        """Return the tensors that are kept from step to step."""
        return [self._kept]

    def state(self) -> dict[str, Any]:
        """Return all that was measured and not reported yet."""
        return {
            "kept": self._kept[: self._filled].clone(),
            "counts": (self._last, self._stated, self._count),
            "moments": (self._mean.tolist(), self._squares.tolist()),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self._filled = len(state["kept"])
        self._kept[: self._filled].copy_(state["kept"])
        self._last, self._stated, self._count = state["counts"]
        self._mean, self._squares = map(np.array, state["moments"])

    def _is_due(self) -> bool:
        return self._last - self._stated >= STATED_SHARE * self._last

    def _summarize(self) -> None:
        """Merge the kept norms into the moments, by Chan et al. (1979)."""
        if not self._filled:
            return
        new = self._kept[: self._filled].cpu().numpy().astype(np.float64)
        count, mean = self._filled, new.mean(0)
        total, delta = self._count + count, mean - self._mean
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.square(new - mean).sum(0)
            self._squares = self._squares + squares + delta**2 * (self._count * count / total)
        self._mean = self._mean + delta * (count / total)
        self._count, self._filled = total, 0

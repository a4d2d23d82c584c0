"""Measures the cosine between the gradients of two successive steps.

For two batches of B samples at the same weights, E[g·g'] = |G|² and E|g|² = |G|² + tr(Σ)/B
(McCandlish et al. 2018, arXiv:1812.06162, appendix A.1), so the cosine is near
1 ÷ (1 + φ/B), where φ = tr(Σ)/|G|² is the gradient noise scale. It needs no parts of a batch, so
it can be measured with batch norm too. The weights move by one step in between.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.training.instruments.instrument import Instrument, Step, TrainingView

MOST_APART, APART_WITHOUT_GRADIENT = 64, 128


class GradientCosine(Instrument):
    """Measures pairs of successive gradients (R, P), and their means over an epoch.

    Between the two steps of a pair the first gradient is kept, and between pairs nothing. Both
    steps lie in one slice of steps, so trainings of less than 40 steps have no pair.

    Args:
        gradient: the buffer, shape (R, P).
        every: steps from one pair to the next, a power of two. So the second step of a pair is
            never one that measures the noise scale, which keeps a gradient too.
    """

    NAME = "gradient_cosine"

    def __init__(self, gradient: Tensor, every: int) -> None:
        self.every, self.step_bytes = every, gradient.nbytes
        self._gradient = gradient
        self._previous: Tensor | None = None
        self._sums = torch.zeros(len(gradient), 2, dtype=torch.float64, device=gradient.device)

    @classmethod
    def of(cls, view: TrainingView) -> "GradientCosine":
        """Build it for a training: at least about one pair per epoch, and per 64 or 128 steps."""
        most = APART_WITHOUT_GRADIENT if view.descends else MOST_APART
        fitting = min(most, view.epoch_steps).bit_length() - 1
        return cls(view.gradient, max(2, 1 << fitting))

    def needs_gradient(self, step: Step) -> bool:
        """Return whether the step is one of a pair."""
        return self._previous is not None or (step.number - 1) % self.every == 0

    def before_step(self, step: Step) -> None:
        """Store the first gradient of a pair; compute the cosine between it and the second."""
        if self._previous is not None:
            self._sums += _cosines(self._previous, self._gradient)
            self._previous = None
        elif (step.number - 1) % self.every == 0:
            self._previous = self._gradient.clone()

    def end_slice(self) -> None:
        """Discard the first gradient of a pair if its second comes in a later slice.

        This frees its memory for an evaluation that may follow.
        """
        self._previous = None

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return the mean cosine of the epoch; None where no pair was measured."""
        total, count = self._sums[replicate].tolist()
        return {"gradient_cosine": total / count if count else None}

    def end_epoch(self) -> None:
        """Reset the means for the next epoch."""
        self._sums.zero_()

    def held(self) -> list[Tensor]:
        """Return the tensors that are kept from step to step."""
        return [self._sums] if self._previous is None else [self._sums, self._previous]

    def state(self) -> dict[str, Any]:
        """Return the sums, and the first gradient of an incomplete pair."""
        previous = None if self._previous is None else self._previous.clone()
        return {"sums": self._sums.clone(), "previous": previous}

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self._sums.copy_(state["sums"])
        previous = state["previous"]
        self._previous = None if previous is None else previous.to(self._gradient.device).clone()


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of each row, and 1: shape (R, 2), float64; NaN where a gradient is 0."""
    if one.device.type != "cpu":
        dots = [torch.linalg.vecdot(a, b) for a, b in ((one, other), (one, one), (other, other))]
        cosines = (dots[0] / torch.sqrt(dots[1] * dots[2])).double()
        return torch.stack([cosines, torch.ones_like(cosines)], 1)
    rows = zip(one.numpy(), other.numpy(), strict=True)  # by BLAS, as other norms are
    found = torch.empty(len(one), 2, dtype=torch.float64)
    with np.errstate(all="ignore"):
        for index, (a, b) in enumerate(rows):
            lengths = np.sqrt(np.float64(np.dot(a, a)) * np.float64(np.dot(b, b)))
            found[index, 0] = float(np.float64(np.dot(a, b)) / lengths)
    found[:, 1] = 1.0
    return found

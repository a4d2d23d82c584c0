"""Measures the norm of the weights, and their distance from the start, at the end of an epoch."""

import math
from typing import Any

import torch
from torch import Tensor

from batchscope.engine.training.instruments.instrument import Instrument


class WeightDistance(Instrument):
    """Measures L2 norms over weights (R, P); nothing is done in a step."""

    NAME = "weight_distance"

    def __init__(self, weights: Tensor, start_weights: Tensor) -> None:
        self._weights, self._start = weights, start_weights

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return `weight_norm` and `distance_from_init`; None where not finite."""
        weights, start = self._weights[replicate], self._start[replicate]
        return {
            "weight_norm": _norm(weights),
            "distance_from_init": _norm(weights - start),
        }


def _norm(vector: Tensor) -> float | None:
    norm = float(torch.linalg.vector_norm(vector))
    return norm if math.isfinite(norm) else None

"""The norms of many steps as histograms."""

import numpy as np
from numpy.typing import NDArray

from engine.bins import EDGES
from engine.events import NormSlice

_EDGES = np.array(EDGES)


def norm_slice(first_step: int, norms: NDArray[np.floating]) -> NormSlice:
    """Histogram and moments of the norms of consecutive steps, shape (n,)."""
    values = norms.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return NormSlice(first_step, 0, 0.0, 0.0, 0, (), len(values))
    counts = _counts(finite)
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    mean = float(finite.mean())
    return NormSlice(
        first_step=first_step,
        count=len(finite),
        mean=mean,
        squares=float(np.square(finite - mean).sum()),
        first_bin=first,
        counts=tuple(counts[first : last + 1].tolist()),
        broken=len(values) - len(finite),
    )


def _counts(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """What `np.histogram` counts of finite values, for few of them in a third of its time."""
    at = np.searchsorted(_EDGES, values, side="right") - 1
    return np.bincount(at, minlength=len(_EDGES) - 1)

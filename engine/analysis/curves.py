"""Curves of a sweep: a figure at the end of each epoch, over how far the training was.

In columns instead of points, because a screen draws hundreds of trials of thousands of epochs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.analysis.figures import Along, Measure
from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics import epoch_arrays
from batchscope.engine.metrics.epoch_arrays import Floats
from batchscope.engine.metrics.epoch_metrics import Figure


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Columns of one length, a row an epoch.

    `mean` is over the `n` seeds that have a value, and lies at the mean of their `x`; `deviation`
    is the sample standard deviation over these seeds, NaN for a single one.
    """

    x: Floats
    mean: Floats
    deviation: Floats
    n: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def row_at(self, x: float) -> int | None:
        """The nearest row at `x` or before it; None where the curve begins later."""
        before = np.flatnonzero(self.x <= x)
        if not len(before):
            return None
        nearest = self.x[before].max()
        return int(before[self.x[before] == nearest][-1])


def curve(
    state: SweepState, configuration: str, measure: Measure, along: Along = "epochs"
) -> Curve:
    """A measure at the end of each epoch, over the seeds that have it; what is not finite is not.

    Seconds and distance differ from seed to seed, as the steps of a last, partial epoch may: a
    row lies at the mean of `x` over the very seeds whose values it is the mean of.
    """
    read = [_columns(trial.records, measure, along) for trial in state.replicates(configuration)]
    epoch, x, value = (np.concatenate(column) for column in zip(*read, strict=True))
    known = np.isfinite(value) & np.isfinite(x)
    epoch, x, value = epoch[known], x[known], value[known]
    seeds = np.bincount(epoch)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = np.bincount(epoch, value) / seeds
        squares = np.bincount(epoch, (value - mean[epoch]) ** 2)
        deviation = np.where(seeds > 1, np.sqrt(squares / (seeds - 1)), np.nan)
        at = np.bincount(epoch, x) / seeds
    some = seeds > 0
    return Curve(at[some], mean[some], deviation[some], seeds[some])


def _columns(
    records: Records, measure: Measure, along: Along
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Epoch, x and value of a trial's records; NaN where one is not known."""
    if isinstance(measure, Figure):
        value = measure.values(records)
    else:
        value = np.array([measure(record) for record in records], dtype=np.float64)
    return epoch_arrays.whole(records, "epoch"), _reached(records, along), value


def _reached(records: Records, along: Along) -> Floats:
    """How far a trial was at the end of each epoch; seconds are those of its training."""
    if along == "seconds":
        return np.cumsum(epoch_arrays.floats(records, "seconds"))
    names = {"epochs": "epoch", "distance": "distance_from_init"}
    return epoch_arrays.floats(records, names.get(along, along))

"""Curves of a sweep: a metric at the end of each epoch, over the progress of the training.

They are columns and not points, because a screen draws hundreds of trials of thousands of epochs.
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
    """Columns of equal length (epochs,).

    `mean` is over the `n` seeds that have a value, at the mean of their `x`; `deviation` is the
    sample standard deviation over these seeds, NaN for a single one.
    """

    x: Floats
    mean: Floats
    deviation: Floats
    n: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def row_at(self, x: float) -> int | None:
        """Return the nearest row at `x` or before it; None if the curve begins later."""
        before = np.flatnonzero(self.x <= x)
        if not len(before):
            return None
        nearest = self.x[before].max()
        return int(before[self.x[before] == nearest][-1])


def curve(
    state: SweepState, configuration: str, measure: Measure, along: Along = "epochs"
) -> Curve:
    """Compute the mean of a metric at the end of each epoch, over the seeds with a finite value.

    Seconds and distance differ between seeds, and so can the steps of a partial last epoch. So a
    row is at the mean of `x` over the seeds that are averaged.
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
    """Return epoch, x and value of a trial's records, each (epochs,); NaN where not known."""
    if isinstance(measure, Figure):
        value = measure.values(records)
    else:
        value = np.array([measure(record) for record in records], dtype=np.float64)
    return epoch_arrays.whole(records, "epoch"), _reached(records, along), value


def _reached(records: Records, along: Along) -> Floats:
    """Return the progress of a trial at the end of each epoch; seconds are those of training."""
    if along == "seconds":
        return np.cumsum(epoch_arrays.floats(records, "seconds"))
    names = {"epochs": "epoch", "distance": "distance_from_init"}
    return epoch_arrays.floats(records, names.get(along, along))

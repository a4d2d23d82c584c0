"""Computes metrics from whole columns of epochs with numpy, where a loop would be slow.

Import it inside functions: command line, conductor and screen start without numpy.
"""

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.metrics.norm_histogram import Norms

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def floats(records: Records, name: str) -> Floats:
    """Return a column (epochs,), NaN where not known; a copy, since a shared one could not grow."""
    return np.array(records.column(name), dtype=np.float64)


def whole(records: Records, name: str) -> Whole:
    """Return a copy of a column of integers (epochs,)."""
    return np.array(records.column(name), dtype=np.int64)


def most(records: Records, name: str) -> float:
    """Return the highest value of a column; 0 where none is known."""
    return float(np.nanmax(floats(records, name), initial=0.0))


def highest(records: Records, name: str) -> float | None:
    """Return the highest value of a column; None where none is known."""
    values = floats(records, name)
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else None


def norms_between(records: Records, planned: float | None, start: float, stop: float) -> Norms:
    """Pool the gradient norms of the steps in a share of the planned steps.

    A slice counts if its middle lies in `start` <= share < `stop`; with a `stop` of 1 also beyond.
    """
    count, broken = whole(records, "count"), whole(records, "broken")
    middle = whole(records, "first_step") + (count + broken) / 2
    share = middle / planned if planned else np.zeros(len(count))
    chosen = share >= start
    if stop < 1.0:
        chosen &= share < stop
    norms = Norms()
    norms.broken = int(broken[chosen].sum())
    norms.bins = _bins(records, chosen)
    n = count[chosen]
    if n.sum():
        part, spread = floats(records, "mean")[chosen], floats(records, "squares")[chosen]
        mean = float(np.dot(n, part) / n.sum())
        norms.join(int(n.sum()), mean, float(spread.sum() + np.dot(n, (part - mean) ** 2)))
    return norms


def whole_epochs(records: Records, size: int) -> tuple[Floats, Floats]:
    """Return seconds and samples of the epochs that saw all of `size` images, each (epochs,).

    The first includes warm-up and is left out if there are others.
    """
    seconds, samples = floats(records, "seconds"), floats(records, "epoch_samples")
    rows = np.flatnonzero((samples == size) & (seconds > 0))
    rows = rows[1:] if len(rows) > 1 else rows
    return seconds[rows], samples[rows]


def middle(parts: list[Floats]) -> float:
    """Return the median of all values together: one or more, none of them NaN."""
    values = np.concatenate(parts)
    low, high = (len(values) - 1) // 2, len(values) // 2
    values.partition((low, high))
    return float((values[low] + values[high]) / 2)


def by_epoch(records: Records) -> tuple[Floats, Floats, Floats]:
    """Return count, mean and squared deviations of the norms of every epoch, each (epochs,)."""
    lengths = np.diff(whole(records, "ends"), prepend=0)
    epoch, rows = np.repeat(np.arange(len(lengths)), lengths), len(lengths)
    count, part = floats(records, "count"), floats(records, "mean")
    total: Floats = np.bincount(epoch, count, rows).astype(np.float64)
    with np.errstate(all="ignore"):
        mean = np.bincount(epoch, count * part, rows) / total
        away = floats(records, "squares") + count * (part - mean[epoch]) ** 2
    squares: Floats = np.bincount(epoch, np.where(count > 0, away, 0.0), rows).astype(np.float64)
    return total, mean, squares


def _bins(records: Records, chosen: NDArray[np.bool_]) -> dict[int, int]:
    """Return the number of norms by bin over the `chosen` slices (slices,), without empty bins."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return {}
    ends = whole(records, "counts_ends")
    first, last = int(rows[0]), int(rows[-1]) + 1  # the whole range is read, since most are chosen
    lengths = np.diff(ends, prepend=0)[first:last]
    start, stop = int(ends[first] - lengths[0]), int(ends[last - 1])
    counts = np.array(records.column("counts")[start:stop], dtype=np.int64)
    begins = whole(records, "first_bin")[first:last] - (ends[first:last] - lengths - start)
    index = np.arange(stop - start) + np.repeat(begins, lengths)
    if len(rows) < last - first:
        wanted = np.repeat(chosen[first:last], lengths)
        index, counts = index[wanted], counts[wanted]
    if not len(index):
        return {}
    low = int(index.min())
    total = np.bincount(index - low, counts)
    return {low + int(at): int(total[at]) for at in np.flatnonzero(total)}

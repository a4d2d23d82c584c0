"""What is read off whole columns of epochs with numpy, where a loop over epochs would be slow.

Loaded when it is first asked for: command line, conductor and screen start without numpy.
"""

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.metrics.norm_histogram import Norms

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def floats(records: Records, name: str) -> Floats:
    """A column, NaN where a value is not known; a copy, since what numpy holds could not grow."""
    return np.array(records.column(name), dtype=np.float64)


def whole(records: Records, name: str) -> Whole:
    """A column of integers, copied likewise."""
    return np.array(records.column(name), dtype=np.int64)


def most(records: Records, name: str) -> float:
    """The highest value of a column; 0 where none is known."""
    return float(np.nanmax(floats(records, name), initial=0.0))


def highest(records: Records, name: str) -> float | None:
    """The highest value of a column; None where none is known."""
    values = floats(records, name)
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else None


def norms_between(records: Records, planned: float | None, start: float, stop: float) -> Norms:
    """Gradient norms of a share of the planned steps.

    A slice counts where its middle lies within `start` <= share < `stop`, or beyond a `stop` of 1.
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
    """Seconds and samples of the epochs that saw all of `size` images.

    The first pays for warm-up and is left out where there are others.
    """
    seconds, samples = floats(records, "seconds"), floats(records, "epoch_samples")
    rows = np.flatnonzero((samples == size) & (seconds > 0))
    rows = rows[1:] if len(rows) > 1 else rows
    return seconds[rows], samples[rows]


def middle(parts: list[Floats]) -> float:
    """The median of all values together, of which there is one at least, and no NaN."""
    values = np.concatenate(parts)
    low, high = (len(values) - 1) // 2, len(values) // 2
    values.partition((low, high))
    return float((values[low] + values[high]) / 2)


def by_epoch(records: Records) -> tuple[Floats, Floats, Floats]:
    """Norms, their mean and their squared deviations from it, of every epoch."""
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
    """Norms a bin over the chosen slices, for the bins that have any."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return {}
    ends = whole(records, "counts_ends")
    first, last = int(rows[0]), int(rows[-1]) + 1  # all between, since most of them are chosen
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

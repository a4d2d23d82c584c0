"""Metrics of an epoch, computed from one record, or from whole columns with numpy.

numpy is loaded when columns are first read, so that importing the registry does not load it.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.norm_histogram import Norms

if TYPE_CHECKING:
    from batchscope.engine.metrics.epoch_arrays import Floats

HALF_LIFE = 30.0
"""Measurements of the noise scale after which an earlier one counts half."""


class Figure(ABC):
    """A metric of an epoch, computed from one record, or for all epochs of a trial at once."""

    @abstractmethod
    def __call__(self, record: EpochRecord) -> float | None:
        """Return the value of one epoch; None where it is not known."""

    @abstractmethod
    def values(self, records: Records) -> "Floats":
        """Return the value of every epoch, (epochs,); NaN where it is not known."""


class Field(Figure):
    """A field of `EpochRecord`, unchanged: an integer stays one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the field of one epoch; None where it is not known."""
        value: float | None = getattr(record, self._name)
        return value

    def values(self, records: Records) -> "Floats":
        """Return the column of the field, (epochs,); NaN where it is not known."""
        from batchscope.engine.metrics import epoch_arrays

        return epoch_arrays.floats(records, self._name)


class Sum(Figure):
    """`offset` + Σ weight · field."""

    def __init__(self, offset: float = 0.0, **weights: float) -> None:
        self._offset, self._weights = offset, weights

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the sum for one epoch; None where a field is not known."""
        fields = [(getattr(record, name), weight) for name, weight in self._weights.items()]
        if any(value is None for value, _ in fields):
            return None
        return sum((weight * value for value, weight in fields), self._offset)

    def values(self, records: Records) -> "Floats":
        """Return the sum for every epoch, (epochs,); NaN where a field is not known."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        total = np.full(len(records), self._offset)
        for name, weight in self._weights.items():
            total += weight * epoch_arrays.floats(records, name)
        return total


class Pace(Figure):
    """Training speed in images per second of training."""

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the images per second of one epoch; None where it took no time."""
        return record.epoch_samples / record.seconds if record.seconds > 0 else None

    def values(self, records: Records) -> "Floats":
        """Return the images per second of every epoch, (epochs,); NaN where it took no time."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        seconds = epoch_arrays.floats(records, "seconds")
        seconds[~(seconds > 0)] = np.nan
        return epoch_arrays.floats(records, "epoch_samples") / seconds


class NormMean(Figure):
    """Mean gradient norm over the steps of an epoch."""

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the mean of one epoch; None without steps."""
        return _moments(record).mean

    def values(self, records: Records) -> "Floats":
        """Return the mean of every epoch, (epochs,); NaN without steps."""
        from batchscope.engine.metrics import epoch_arrays

        return epoch_arrays.by_epoch(records)[1]


class NormDeviation(Figure):
    """Sample standard deviation (n − 1) of the gradient norms of an epoch."""

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the deviation of one epoch; None below two steps."""
        return _moments(record).std

    def values(self, records: Records) -> "Floats":
        """Return the deviation of every epoch, (epochs,); NaN below two steps."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        count, _, squares = epoch_arrays.by_epoch(records)
        with np.errstate(all="ignore"):
            deviation = np.sqrt(squares / (count - 1))
        return np.where(count > 1, deviation, np.nan)


class NormSpread(Figure):
    """Coefficient of variation of the gradient norms of an epoch: deviation (n − 1) ÷ mean."""

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the coefficient of one epoch; None where it is not defined."""
        return _moments(record).cv

    def values(self, records: Records) -> "Floats":
        """Return the coefficient of every epoch, (epochs,); NaN where it is not defined."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        count, mean, squares = epoch_arrays.by_epoch(records)
        with np.errstate(all="ignore"):
            spread = np.sqrt(squares / (count - 1)) / mean
        return np.where((count > 1) & (mean > 0), spread, np.nan)


class NoiseRatio(Figure):
    """Gradient noise scale from running means of tr(Σ) and |G|²: one epoch alone is too noisy.

    A measurement counts half after `HALF_LIFE` further ones.
    """

    def __call__(self, record: EpochRecord) -> float | None:
        """Return the value of one epoch on its own; None where it is undetermined."""
        return record.noise_scale

    def values(self, records: Records) -> "Floats":
        """Return the value at the end of every epoch, (epochs,); NaN where it is undetermined."""
        import numpy as np

        ratios, trace, signal = np.full(len(records), np.nan), 0.0, 0.0
        names = ("noise_draws", "noise_trace", "noise_signal")
        for at, (n, t, s) in enumerate(zip(*map(records.column, names), strict=True)):
            if n:
                kept = 0.5 ** (n / HALF_LIFE)
                trace, signal = kept * trace + n * t, kept * signal + n * s
            if signal > 0:
                ratios[at] = trace / signal
        return ratios


def _moments(record: EpochRecord) -> Norms:
    """Return count, mean and deviation of an epoch's gradient norms, without their bins."""
    total = Norms()
    for piece in record.norms:
        total.join(piece.count, piece.mean, piece.squares)
    return total

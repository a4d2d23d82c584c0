"""Figures of an epoch, computed from one record, or from whole columns with numpy.

numpy is loaded when columns are first looked at, so that naming a figure costs no start.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.metrics.norm_histogram import Norms

if TYPE_CHECKING:
    from batchscope.engine.metrics.epoch_arrays import Floats

HALF_LIFE = 30.0


class Figure(ABC):
    """A figure of an epoch, computed from one record, or for all epochs at once."""

    @abstractmethod
    def __call__(self, record: EpochRecord) -> float | None:
        """The value of one epoch; None where it is not known."""

    @abstractmethod
    def values(self, records: Records) -> "Floats":
        """The value of every epoch; NaN where it is not known."""


class Sum(Figure):
    """`offset` + Σ weight · field."""

    def __init__(self, offset: float = 0.0, **weights: float) -> None:
        self._offset, self._weights = offset, weights

    def __call__(self, record: EpochRecord) -> float | None:
        """The value of one epoch; None where a field is not known."""
        fields = [(getattr(record, name), weight) for name, weight in self._weights.items()]
        if any(value is None for value, _ in fields):
            return None
        return sum((weight * value for value, weight in fields), self._offset)

    def values(self, records: Records) -> "Floats":
        """The value of every epoch; NaN where a field is not known."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        total = np.full(len(records), self._offset)
        for name, weight in self._weights.items():
            total += weight * epoch_arrays.floats(records, name)
        return total


class NormMean(Figure):
    """Mean gradient norm of an epoch's steps."""

    def __call__(self, record: EpochRecord) -> float | None:
        """The value of one epoch; None without steps."""
        return Norms(record.norms).mean

    def values(self, records: Records) -> "Floats":
        """The value of every epoch; NaN without steps."""
        from batchscope.engine.metrics import epoch_arrays

        return epoch_arrays.by_epoch(records)[1]


class NormSpread(Figure):
    """Coefficient of variation of the gradient norms of an epoch's steps: std (n − 1) ÷ mean."""

    def __call__(self, record: EpochRecord) -> float | None:
        """The value of one epoch; None where it is not defined."""
        return Norms(record.norms).cv

    def values(self, records: Records) -> "Floats":
        """The value of every epoch; NaN where it is not defined."""
        import numpy as np

        from batchscope.engine.metrics import epoch_arrays

        count, mean, squares = epoch_arrays.by_epoch(records)
        with np.errstate(all="ignore"):
            spread = np.sqrt(squares / (count - 1)) / mean
        return np.where((count > 1) & (mean > 0), spread, np.nan)


class NoiseRatio(Figure):
    """Gradient noise scale, of running means of tr(Σ) and |G|²: one epoch alone says little.

    What was drawn `HALF_LIFE` draws ago counts half.
    """

    def __call__(self, record: EpochRecord) -> float | None:
        """The value of one epoch on its own; None where it is undetermined."""
        return record.noise_scale

    def values(self, records: Records) -> "Floats":
        """The value at the end of every epoch; NaN where it is undetermined."""
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

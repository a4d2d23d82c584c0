"""Stores the epochs of a trial in columns, so that two hundred trials of thousands fit in memory.

The columns are in memory or mapped from a file, and have one of four lengths: a row for each epoch,
for each slice of gradient norms, for each bin of a slice, or for each layer of an epoch that has
norms by layer. `ends` holds the end of each epoch's rows in the columns of slices, `counts_ends`
the end of each slice's rows in the column of bins, and `layer_ends` the end of each epoch's rows in
the columns of layers.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import TypeAlias, get_type_hints, overload

from batchscope.engine.journal.events import EpochRecord, LayerNorm, NormSlice

NUMBERS = tuple(
    name
    for name in EpochRecord.__struct_fields__
    if name not in ("norms", "layer_norms", "metrics")
)
WHOLE = frozenset(
    name for name, kind in get_type_hints(EpochRecord).items() if kind in (int, int | None)
)
"""Fields that are integers; as doubles they are exact below 2⁵³."""
OF_A_SLICE = {
    "first_step": "q",
    "count": "q",
    "mean": "d",
    "squares": "d",
    "first_bin": "q",
    "broken": "q",
}
OF_A_LAYER = {"layer_mean": "d", "layer_squares": "d"}
LAYOUT = {
    **dict.fromkeys(NUMBERS, "d"),
    "ends": "Q",
    **OF_A_SLICE,
    "counts_ends": "Q",
    "counts": "I",
    "layer_ends": "Q",
    **OF_A_LAYER,
}
"""Every column, and its type code for `array`."""

Column: TypeAlias = "array[float] | memoryview[float]"
_numbers = attrgetter(*NUMBERS)
_parts = attrgetter(*OF_A_SLICE)


class Records(Sequence[EpochRecord]):
    """A sequence of `EpochRecord` in order, stored in columns; an unknown value is NaN there."""

    def __init__(self, records: Iterable[EpochRecord] = ()) -> None:
        self._columns: dict[str, Column] = {name: array(kind) for name, kind in LAYOUT.items()}
        self._named: dict[str, array[float]] = {}
        self._last: EpochRecord | None = None
        self.extend(records)

    @classmethod
    def over(cls, columns: Mapping[str, Column]) -> "Records":
        """Build epochs from existing read-only columns of `LAYOUT`.

        The columns are copied before the first change.
        """
        records = cls()
        records._columns = dict(columns)
        return records

    def __len__(self) -> int:
        return len(self._columns["ends"])

    def __iter__(self) -> Iterator[EpochRecord]:
        return (self._record(at) for at in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> EpochRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "Records": ...
    def __getitem__(self, index: int | slice) -> "EpochRecord | Records":
        if isinstance(index, slice):
            return Records(self._record(at) for at in range(*index.indices(len(self))))
        return self._record(range(len(self))[index])

    @property
    def last(self) -> EpochRecord | None:
        """The last epoch, built once; None if there is none."""
        if self._last is None and len(self):
            self._last = self._record(len(self) - 1)
        return self._last

    def column(self, name: str) -> Column:
        """Return a column of `LAYOUT` (epochs,), with NaN for unknown values; do not modify it.

        Raises:
            KeyError: the column does not exist.
        """
        return self._columns[name]

    def named(self, name: str) -> "array[float]":
        """Return a metric of a task (epochs,), with NaN for unknown values; do not modify it."""
        return self._named.get(name) or array("d", [math.nan]) * len(self)

    @property
    def has_named(self) -> bool:
        """Whether any epoch has metrics of a task."""
        return bool(self._named)

    def known(self, name: str) -> list[float]:
        """Return the values of a column without the unknown ones (NaN)."""
        return [value for value in self.column(name) if not math.isnan(value)]

    def extend(self, records: Iterable[EpochRecord]) -> None:
        """Append epochs.

        Raises:
            OverflowError: a whole number does not fit into its column; nothing is appended.
        """
        new = list(records)
        if not new:
            return
        own = self._own()
        before = {name: len(column) for name, column in own.items()}
        try:
            self._append(own, new)
        except OverflowError:
            for name, column in own.items():
                del column[before[name] :]
            raise
        for name in {name for record in new for name in record.metrics} | self._named.keys():
            metric = self._named.setdefault(name, array("d", [math.nan]) * before["ends"])
            metric.extend([record.metrics.get(name, math.nan) for record in new])
        self._last = new[-1]

    def _append(self, own: "dict[str, array[float]]", new: Sequence[EpochRecord]) -> None:
        for name, values in zip(NUMBERS, zip(*map(_numbers, new), strict=True), strict=True):
            own[name].extend([math.nan if value is None else value for value in values])
        slices = [piece for record in new for piece in record.norms]
        _append_ends(own["ends"], len(own["count"]), (len(record.norms) for record in new))
        _append_ends(own["counts_ends"], len(own["counts"]), (len(s.counts) for s in slices))
        for name, values in zip(OF_A_SLICE, zip(*map(_parts, slices), strict=True), strict=False):
            own[name].extend(values)
        layers = [layer for record in new for layer in record.layer_norms]
        lengths = (len(record.layer_norms) for record in new)
        _append_ends(own["layer_ends"], len(own["layer_mean"]), lengths)
        own["layer_mean"].extend([layer.mean for layer in layers])
        own["layer_squares"].extend([layer.squares for layer in layers])
        own["counts"].extend(chain.from_iterable(piece.counts for piece in slices))

    def merge(self, records: Iterable[EpochRecord]) -> None:
        """Insert epochs in order; epochs that exist already do not change."""
        known = set(self.column("epoch"))
        new = [record for record in records if record.epoch not in known]
        if new:
            merged = Records(sorted([*self, *new], key=lambda record: record.epoch))
            self._columns, self._last = merged._columns, merged._last
            self._named = merged._named

    def keep(self, epochs: int) -> None:
        """Remove all epochs after number `epochs`."""
        if len(self) and self.column("epoch")[-1] > epochs:
            self._replace([record for record in self if record.epoch <= epochs])

    def clear(self) -> None:
        """Remove all epochs."""
        self._replace(())

    def _replace(self, records: Iterable[EpochRecord]) -> None:
        self._columns, self._last = {name: array(kind) for name, kind in LAYOUT.items()}, None
        self._named = {}
        self.extend(records)

    def _own(self) -> "dict[str, array[float]]":
        """Return the columns as arrays that can be changed; mapped columns are copied first."""
        own = {
            name: column if isinstance(column, array) else array(LAYOUT[name], column)
            for name, column in self._columns.items()
        }
        self._columns = dict(own)
        return own

    def _record(self, at: int) -> EpochRecord:
        values = {name: _value(name, self._columns[name][at]) for name in NUMBERS}
        ends = self._columns["ends"]
        slices = range(int(ends[at - 1]) if at else 0, int(ends[at]))
        norms, layers = tuple(map(self._slice, slices)), self._layers(at)
        metrics = {name: column[at] for name, column in sorted(self._named.items())}
        metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
        return EpochRecord(
            norms=norms,
            layer_norms=layers,
            metrics=metrics,
            **values,  # type: ignore[arg-type]
        )

    def _layers(self, at: int) -> tuple[LayerNorm, ...]:
        ends = self._columns["layer_ends"]
        rows = range(int(ends[at - 1]) if at else 0, int(ends[at]))
        mean, squares = self._columns["layer_mean"], self._columns["layer_squares"]
        return tuple(LayerNorm(mean[row], squares[row]) for row in rows)

    def _slice(self, at: int) -> NormSlice:
        ends = self._columns["counts_ends"]
        counts = self._columns["counts"][int(ends[at - 1]) if at else 0 : int(ends[at])]
        values = {name: self._columns[name][at] for name in OF_A_SLICE}
        return NormSlice(counts=tuple(counts), **values)  # type: ignore[arg-type]


def _append_ends(ends: "array[float]", so_far: int, lengths: Iterable[int]) -> None:
    ends.extend(list(accumulate(lengths, initial=so_far))[1:])


def _value(name: str, number: float) -> float | int | None:
    if math.isnan(number):
        return None
    return int(number) if name in WHOLE else number

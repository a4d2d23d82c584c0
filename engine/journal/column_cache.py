"""Caches the epochs of a sweep that ended, as columns in a file next to its journal.

Only the journal counts; the cache saves reading it. The journal of a long sweep has hundreds of
megabytes, and a screen needs a few columns of them. The conductor writes the cache at the end of
the sweep. The header identifies the journal, and how much of it the cache covers. If that does not
match, or the file is damaged, the journal is read instead. The cache may be deleted at any time.

Layout: `MAGIC`, the length of the header (8 bytes, little-endian), the header (MessagePack, padded
to 8 bytes); then for each trial the columns of `epoch_columns.LAYOUT`, each padded to 8 bytes.
"""

import hashlib
import mmap
import os
import sys
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.epoch_columns import LAYOUT, Records
from batchscope.engine.journal.sweep_state import SweepState

NAME = "epochs.columns"
MAGIC = b"bscolumn"
WORTH_BYTES = 4 << 20
TAIL_BYTES = 1 << 16
WORD = 8
WIDTHS = tuple(array(kind).itemsize for kind in LAYOUT.values())


class TrialExtent(msgspec.Struct, frozen=True, array_like=True):
    """Position of a trial's columns: bytes after the first column, and the length of each."""

    trial: str
    offset: int
    lengths: tuple[int, ...]


class CacheHeader(msgspec.Struct, frozen=True):
    """The header of the file.

    Attributes:
        layout: type code of each column.
        order: byte order of the columns.
        journal_bytes: bytes of the journal that the cache covers.
        tail_digest: SHA-256 of the last of these bytes.
        damaged: number of damaged lines among them.
        events: lines of the journal without their epochs.
        rows: position of each trial's columns.
    """

    layout: dict[str, str]
    order: str
    journal_bytes: int
    tail_digest: bytes
    damaged: int
    events: bytes
    rows: tuple[TrialExtent, ...]


class Stored(NamedTuple):
    """The state of a sweep read from its columns, up to an offset of its journal."""

    state: SweepState
    offset: int
    damaged: int


def write(folder: Path) -> None:
    """Write the columns of a sweep that ended, unless its journal is shorter than `WORTH_BYTES`.

    Raises:
        OSError: the file cannot be written; an earlier one is kept.
    """
    path = folder / journal.NAME
    if path.stat().st_size < WORTH_BYTES:
        return
    reader, state, kept = journal.Reader(path), SweepState(), list[bytes]()
    last: dict[str, ev.EpochsFinished] = {}
    for batch in reader.batches():
        kept += [journal.encode(event) for event in _without_epochs(batch, last)]
        state.fold(batch)
    rows, offset = [], 0
    for name, trial in state.trials.items():
        lengths = tuple(len(trial.records.column(column)) for column in LAYOUT)
        rows.append(TrialExtent(name, offset, lengths))
        offset += _size(rows[-1])
    header = CacheHeader(
        layout=LAYOUT,
        order=sys.byteorder,
        journal_bytes=reader.offset,
        tail_digest=_digest(path, reader.offset),
        damaged=reader.damaged,
        events=b"\n".join(kept),
        rows=tuple(rows),
    )
    _replace(folder / NAME, header, (state.trials[row.trial].records for row in rows))


def read(folder: Path) -> Stored | None:
    """Read the sweep from its columns; None if they are missing or belong to another journal."""
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        with open(folder / NAME, "rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        length = int.from_bytes(whole[WORD : 2 * WORD], "little")
        header = msgspec.msgpack.decode(whole[2 * WORD : 2 * WORD + length], type=CacheHeader)
        body = whole[_padded(2 * WORD + length) :]
        path = folder / journal.NAME
        ours = whole[:WORD] == MAGIC and (header.layout, header.order) == (LAYOUT, sys.byteorder)
        ours = ours and len(body) == sum(map(_size, header.rows))
        if ours and header.tail_digest == _digest(path, header.journal_bytes):
            state = SweepState().fold(map(journal.decode, header.events.split(b"\n")))
            for row in header.rows:
                state.trials[row.trial].records = _records(body, row)
            return Stored(state, header.journal_bytes, header.damaged)
    return None


def _without_epochs(
    events: list[ev.AnyEvent], last: dict[str, ev.EpochsFinished]
) -> Iterator[ev.AnyEvent]:
    """Yield the events that are not about single epochs.

    For a trial that ends, its last epoch is yielded too, since messages about the end quote it.
    """
    for event in events:
        match event:
            case ev.EpochsFinished():
                record = event.records[-1:]
                last[event.trial] = msgspec.structs.replace(event, records=record)
            case ev.Progress():
                pass
            case ev.TrialEnded() if event.trial in last:
                yield last.pop(event.trial)
                yield event
            case _:
                yield event


def _records(body: memoryview, row: TrialExtent) -> Records:
    columns, start = {}, row.offset
    for (name, kind), size in zip(LAYOUT.items(), _sizes(row), strict=True):
        columns[name] = body[start : start + size].cast(kind)  # type: ignore[call-overload]
        start += _padded(size)
    return Records.over(columns)


def _sizes(row: TrialExtent) -> list[int]:
    """Return the bytes of each column."""
    return [width * length for width, length in zip(WIDTHS, row.lengths, strict=True)]


def _size(row: TrialExtent) -> int:
    return sum(map(_padded, _sizes(row)))


def _padded(size: int) -> int:
    return -(-size // WORD) * WORD


def _digest(path: Path, size: int) -> bytes:
    """Return the SHA-256 of the last bytes of a journal's first `size` bytes.

    Raises:
        ValueError: the journal is shorter.
    """
    with open(path, "rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read(min(size, TAIL_BYTES))
    if len(tail) < min(size, TAIL_BYTES):
        raise ValueError("the journal is shorter than what was stored")
    return hashlib.sha256(tail).digest()


def _replace(path: Path, header: CacheHeader, trials: Iterator[Records]) -> None:
    """Write the file atomically."""
    encoded = msgspec.msgpack.encode(header)
    start = MAGIC + len(encoded).to_bytes(WORD, "little") + encoded
    descriptor, temporary = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(start.ljust(_padded(len(start)), b"\0"))
            for records in trials:
                for name in LAYOUT:
                    data = memoryview(records.column(name)).cast("B")
                    file.write(data)
                    file.write(bytes(_padded(len(data)) - len(data)))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise

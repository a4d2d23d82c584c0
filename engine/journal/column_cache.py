"""Caches the epochs of a sweep that ended, as columns in a file next to its journal.

Only the journal counts; the cache saves reading it. The journal of a long sweep has hundreds of
megabytes, and a screen needs a few columns of them. The conductor writes the cache at the end of
the sweep. The header identifies the journal, and how much of it the cache covers. If that or the
checksum does not match, the journal is read instead. The cache may be deleted at any time. It is
read into memory, since a mapped file that is cut meanwhile would kill the process.

Layout: `MAGIC`, the length of the header (8 bytes, little-endian), the header (MessagePack, padded
to 8 bytes); then for each trial the columns of `epoch_columns.LAYOUT`, each padded to 8 bytes; last
the CRC-32 of all bytes before it (8 bytes, little-endian).
"""

import hashlib
import os
import sys
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.epoch_columns import LAYOUT, Records
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.system.untrusted_files import open_regular

NAME = "epochs.columns"
MAGIC = b"bscolum2"
WORTH_BYTES = 4 << 20
TAIL_BYTES = 1 << 16
WORD = 8
LONGEST_HEADER = 1 << 20
"""Limit for the header, beyond the bytes of the journal whose lines it repeats."""
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
        sealed: whether the lines of the journal have checksums.
        rebuilt: whether the line about the experiment was damaged, so that it is not the journal's.
    """

    layout: dict[str, str]
    order: str
    journal_bytes: int
    tail_digest: bytes
    damaged: int
    events: bytes
    rows: tuple[TrialExtent, ...]
    sealed: bool
    rebuilt: bool


class Stored(NamedTuple):
    """The state of a sweep read from its columns, up to an offset of its journal."""

    state: SweepState
    offset: int
    damaged: int
    sealed: bool
    rebuilt: bool


def write(folder: Path, reader: journal.Reader | None = None) -> None:
    """Write the columns of a sweep that ended, unless its journal is shorter than `WORTH_BYTES`.

    Args:
        folder: folder of the sweep.
        reader: a new reader of its journal; by default one that rebuilds nothing.

    Raises:
        OSError: the file cannot be written; an earlier one is kept.
    """
    path = folder / journal.NAME
    if path.stat().st_size < WORTH_BYTES:
        return
    reader, state, kept = reader or journal.Reader(path), SweepState(), list[bytes]()
    last: dict[str, ev.EpochsFinished] = {}
    for batch in reader.batches():
        kept += [journal.encode(event) for event in _without_epochs(batch, last)]
        state.fold(batch)
    if any(trial.records.has_named for trial in state.trials.values()):
        return  # the columns of tasks are not the same in every sweep
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
        sealed=reader.sealed,
        rebuilt=reader.rebuilt,
    )
    _replace(folder / NAME, header, (state.trials[row.trial].records for row in rows))


def read(folder: Path) -> Stored | None:
    """Read the sweep from its columns; None if they are missing, damaged or of another journal."""
    # a wrong header can raise anything, and the journal has everything
    with suppress(OSError, ValueError, TypeError, LookupError, RecursionError, MemoryError):
        return _read(folder)
    return None


def _read(folder: Path) -> Stored | None:
    """Read the file.

    Raises:
        ValueError: it is damaged. Before its checksum is known to be right, no more is read than a
            file for this journal can have.
    """
    path = folder / journal.NAME
    with open_regular(folder / NAME, most=None, follow=False) as file:
        start = file.read(2 * WORD)
        length = int.from_bytes(start[WORD:], "little")
        if start[:WORD] != MAGIC or length > path.stat().st_size + LONGEST_HEADER:
            return None
        start += file.read(_padded(2 * WORD + length) - 2 * WORD)
        encoded = memoryview(start)[2 * WORD : 2 * WORD + length]
        header = msgspec.msgpack.decode(encoded, type=CacheHeader)
        ours = (header.layout, header.order) == (LAYOUT, sys.byteorder)
        if not ours or header.tail_digest != _digest(path, header.journal_bytes):
            return None
        body = _body(file, start, sum(map(_size, header.rows)))
    state = SweepState().fold(map(journal.decode, header.events.split(b"\n")))
    for row in header.rows:
        state.trials[row.trial].records = _records(body, row)
    state.damaged, state.rebuilt = header.damaged, header.rebuilt
    return Stored(state, header.journal_bytes, header.damaged, header.sealed, header.rebuilt)


def _body(file: BinaryIO, start: bytes, size: int) -> memoryview:
    """Return the columns that follow `start` in the file, after checking everything.

    Raises:
        ValueError: the size or the checksum is wrong.
    """
    if os.fstat(file.fileno()).st_size != len(start) + size + WORD:
        raise ValueError("its size is wrong")
    whole = memoryview(file.read(size + WORD))
    if len(whole) != size + WORD:
        raise ValueError("it was cut")
    body = whole[:size]
    if zlib.crc32(body, zlib.crc32(start)) != int.from_bytes(whole[size:], "little"):
        raise ValueError("its bytes have changed")
    return body


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
    with open_regular(path, most=None, follow=False) as file:
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
            total = 0
            for part in _parts(start, trials):
                file.write(part)
                total = zlib.crc32(part, total)
            file.write(total.to_bytes(WORD, "little"))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise


def _parts(start: bytes, trials: Iterator[Records]) -> Iterator[bytes | memoryview]:
    """Yield the content of the file without its checksum."""
    yield start.ljust(_padded(len(start)), b"\0")
    for records in trials:
        for name in LAYOUT:
            data = memoryview(records.column(name)).cast("B")
            yield data
            yield bytes(_padded(len(data)) - len(data))

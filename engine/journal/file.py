"""The journal file: append-only JSON lines, one writer, any number of readers.

A reader keeps its own offset and reads only complete lines. An incomplete last line is cut off when
the writer opens the file again; a damaged line elsewhere is skipped and counted. Each line ends
with the CRC-32 of the rest (`"sum"`), so that a digit that changed on the disk is detected. After
the first line with a checksum every line must have one.
"""

import contextlib
import errno
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchscope import __version__
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import (
    JOURNAL_VERSION,
    AnyEvent,
    ConductorStarted,
    EpochsFinished,
    JournalOpened,
    SweepOpened,
)
from batchscope.engine.system.untrusted_files import open_regular, open_to_write, too_deep

NAME = "journal.jsonl"
CHUNK = 4 << 20
LONGEST_LINE = 64 << 20
"""Limit for a line. The longest event states the configurations: 11 MB for 10,000 of them."""
SUM = b',"sum":"'
SUM_LENGTH = len(SUM) + 8 + len(b'"}')

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class Writer:
    """Appends events. The caller must hold the sweep's lock, so that there is only one writer.

    Raises:
        OSError: the file cannot be written, or something else is in its place.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_to_write(path, append=True)
        self._torn, self._path = False, path
        self.doubtful = False
        """Whether the last sync failed, so that a power cut may lose what was appended."""
        mend(path)
        self._durable = self._size()
        if path.stat().st_size == 0:
            self.append(JournalOpened(version=JOURNAL_VERSION, program=__version__))

    def append(self, *events: AnyEvent) -> None:
        """Append events, one line each, in one write; readers see them at once.

        Raises:
            OSError: they cannot be written; the file is as before.
            MachineProblem: an event is longer than `LONGEST_LINE`.
        """
        size = self._size()
        fitting = (part for event in events for part in _fitting(event))
        lines = memoryview(b"\n" * self._torn + b"".join(fitting))
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), size)
            # the next event must begin a new line
            self._torn = self._torn or self._size() != size
            raise
        self._torn = False

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def sync(self) -> None:
        """Sync the file, so that everything appended so far survives a power cut.

        After a failed fsync the system may drop the unwritten pages, and the next fsync then
        succeeds without writing them. So after a failure the data are written again.
        """
        size = self._size()
        if self.doubtful:
            with open_to_write(self._path, create=False) as file:
                content = os.pread(file.fileno(), size - self._durable, self._durable)
                os.pwrite(file.fileno(), content, self._durable)
        self.doubtful = True
        os.fsync(self._file.fileno())
        self.doubtful, self._durable = False, size

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        self._file.close()


def mend(path: Path) -> None:
    """Cut off an incomplete last line, left by a writer that died."""
    with open_to_write(path, create=False) as file:
        size = file.seek(0, os.SEEK_END)
        end = _last_line_end(file)
        if end < size:
            file.truncate(end)


def _last_line_end(file: BinaryIO | FileIO) -> int:
    """Return the position after a file's last newline; 0 if there is none."""
    for first, end in reversed(list(_parts_with_data(file.fileno()))):
        while end > first:
            start = max(first, end - CHUNK)
            file.seek(start)
            newline = (file.read(end - start) or b"").rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _parts_with_data(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of the parts of a file that are not holes (bytes of zero)."""
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        start = _data_from(descriptor, end)
        if start < size:
            end = _position(descriptor, start, os.SEEK_HOLE)
            yield start, end
        else:
            end = size


def _data_from(descriptor: int, start: int) -> int:
    """Return the next position that is not in a hole; the size of the file if there is none."""
    try:
        return _position(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(descriptor).st_size


def _position(descriptor: int, start: int, whence: int) -> int:
    """Return where `lseek` leads, without moving there: a buffered file must not notice."""
    here = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return os.lseek(descriptor, start, whence)
    finally:
        os.lseek(descriptor, here, os.SEEK_SET)


class Reader:
    """Reads complete lines from its last position, and counts lines that it cannot decode.

    Args:
        path: the journal.
        without: kinds of events to skip; a line's first bytes hold its kind.
        opening: returns the first event of the sweep if its line is damaged; None if it is not
            known.
    """

    def __init__(
        self,
        path: Path,
        without: Iterable[str] = (),
        opening: Callable[[], SweepOpened | None] = lambda: None,
    ) -> None:
        self.path = path
        self.offset = 0
        self.damaged = 0
        self.sealed = False
        """Whether a line had a checksum, so that all later ones must have one."""
        self.rebuilt = False
        """Whether the first event of the sweep is not from the journal."""
        self._without = tuple(f'{{"kind":"{kind}"'.encode() for kind in without)
        self._opening, self._opened = opening, False
        self._searched = 0

    def go_on(self, offset: int, damaged: int, sealed: bool, rebuilt: bool) -> None:
        """Continue after what is known from `epochs.columns`."""
        self.offset, self.damaged, self.sealed = offset, damaged, sealed
        self.rebuilt, self._opened = rebuilt, True

    def read(self, limit: int = CHUNK) -> list[AnyEvent]:
        """Return the next events, up to about `limit` bytes of them; empty if there are none.

        Raises:
            OSError: the journal cannot be read, or something else is in its place.
        """
        try:
            with open_regular(self.path, most=None, follow=False) as file:
                lines = self._next(file, limit)
        except FileNotFoundError:
            return []
        return self._decoded(lines)

    def _next(self, file: BinaryIO, limit: int) -> list[bytes]:
        """Return the lines in about `limit` bytes from the offset on, or one longer line.

        A line that is too long is skipped, without having it in memory.
        """
        file.seek(self.offset)
        chunk = file.read(limit)
        if len(chunk) < limit or b"\n" in chunk:
            end = chunk.rfind(b"\n") + 1
            self.offset += end
            return chunk[:end].split(b"\n")[:-1]
        del chunk
        end = max(self._searched, self.offset + limit)
        while True:
            end = file.seek(_data_from(file.fileno(), end))
            chunk = file.read(CHUNK)
            if not chunk:
                break
            newline = chunk.find(b"\n")
            if newline >= 0:
                start, self.offset = self.offset, end + newline + 1
                if self.offset - start <= LONGEST_LINE:
                    file.seek(start)
                    return [file.read(self.offset - start - 1)]
                self.damaged += 1
                return []
            end += len(chunk)
        self._searched = end  # the next call continues from here
        return []

    def _decoded(self, lines: Iterable[bytes]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for line in lines:
            if line.startswith(self._without):
                continue
            sealed = _has_sum(line)
            try:
                if self.sealed and not sealed:
                    raise msgspec.DecodeError("its checksum is missing")
                event = decode(line)
            except msgspec.MsgspecError:
                self.damaged += 1
                continue
            self.sealed = sealed
            if not self._opened and not isinstance(event, JournalOpened):
                events += self._begun(event)
            events.append(event)
        return events

    def _begun(self, event: AnyEvent) -> list[AnyEvent]:
        """Return the first event of the sweep if `event` is another one."""
        self._opened = True
        known = None if isinstance(event, SweepOpened) else self._opening()
        self.rebuilt = known is not None
        return [known] if known else []

    def batches(self) -> Iterator[list[AnyEvent]]:
        """Yield the events up to the end of the file, in parts of limited size."""
        before = -1
        while before != self.offset:
            before = self.offset
            yield self.read()

    def read_all(self) -> list[AnyEvent]:
        """Return all events up to the end of the file."""
        return [event for batch in self.batches() for event in batch]


def decode(line: bytes) -> AnyEvent:
    """Decode a line. Lines of workers and of older journals have no checksum.

    Raises:
        msgspec.MsgspecError: the line is not an event, or its checksum is wrong.
    """
    if not is_intact(line):
        raise msgspec.DecodeError("its bytes have changed")
    try:
        event = _decoder.decode(line)
    except (RecursionError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from None
    free = _free(event)
    if free is not None and too_deep(free):
        raise msgspec.DecodeError("it is nested too deeply")
    return event


def is_intact(line: bytes) -> bool:
    """Return whether a line without its end has the right checksum, or none."""
    return not _has_sum(line) or _sum(memoryview(line)[:-SUM_LENGTH]) == line[-10:-2]


def _free(event: AnyEvent) -> object:
    """Return the parts of an event that may hold any JSON."""
    match event:
        case ConductorStarted():
            return event.machine
        case SweepOpened():
            return [(claim.left, claim.right) for claim in event.claims]
    return None


def _has_sum(line: bytes) -> bool:
    return line[-SUM_LENGTH:].startswith(SUM)


def encode(event: AnyEvent) -> bytes:
    """Encode an event as a line, without checksum and newline."""
    return _encode(event)


def sealed(event: AnyEvent) -> bytes:
    """Encode an event as a line of the file, with checksum and newline."""
    start = _encode(event)[:-1]
    return b'%s%s%s"}\n' % (start, SUM, _sum(start))


def _fitting(event: AnyEvent) -> Iterator[bytes]:
    """Yield the lines of an event: one, or as many as its epochs need."""
    line = sealed(event)
    if len(line) <= LONGEST_LINE:
        yield line
        return
    if not isinstance(event, EpochsFinished) or len(event.records) < 2:
        what = f"an event of {len(line):,} bytes does not fit into a line of the journal"
        raise MachineProblem(f"{what}, which has at most {LONGEST_LINE:,}")
    half = len(event.records) // 2
    for records, last in ((event.records[:half], False), (event.records[half:], event.last)):
        yield from _fitting(msgspec.structs.replace(event, records=records, last=last))


def _sum(start: bytes | memoryview) -> bytes:
    return b"%08x" % zlib.crc32(start)

"""The journal file: append-only JSON lines, one writer, any number of readers.

A reader keeps its own offset and reads only complete lines. An incomplete last line is cut off when
the writer opens the file again; a damaged line elsewhere is skipped and counted. Each line ends
with the CRC-32 of the rest (`"sum"`), so that a digit that changed on the disk is detected.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from batchscope import __version__
from batchscope.engine.journal.events import JOURNAL_VERSION, AnyEvent, JournalOpened

NAME = "journal.jsonl"
CHUNK = 4 << 20
SUM = b',"sum":"'
SUM_LENGTH = len(SUM) + 8 + len(b'"}')

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class Writer:
    """Appends events. The caller must hold the sweep's lock, so that there is only one writer.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._torn, self._path = False, path
        self.doubtful = False
        """Whether the last sync failed, so that a power cut may lose what was appended."""
        mend(path)
        self._durable = self._size()
        if path.stat().st_size == 0:
            self.append(JournalOpened(version=JOURNAL_VERSION, program=__version__))

    def append(self, *events: AnyEvent) -> None:
        """Append events, one line each, in one write; readers see them at once."""
        size = self._size()
        lines = memoryview(b"\n" * self._torn + b"".join(map(sealed, events)))
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
            with open(self._path, "rb+", buffering=0) as file:
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
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - CHUNK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)


class Reader:
    """Reads complete lines from its last position, and counts lines that it cannot decode.

    Args:
        path: the journal.
        without: kinds of events to skip; a line's first bytes hold its kind.
    """

    def __init__(self, path: Path, without: Iterable[str] = ()) -> None:
        self.path = path
        self.offset = 0
        self.damaged = 0
        self._without = tuple(f'{{"kind":"{kind}"'.encode() for kind in without)

    def read(self, limit: int = CHUNK) -> list[AnyEvent]:
        """Return the next events, up to about `limit` bytes of them; empty if there are none."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                chunk = file.read(limit)
                if len(chunk) == limit and b"\n" not in chunk:
                    chunk += file.readline()
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        self.offset += end
        events = []
        for line in chunk[:end].split(b"\n")[:-1]:
            if line.startswith(self._without):
                continue
            try:
                events.append(decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.damaged += 1
        return events

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
    if line[-SUM_LENGTH:].startswith(SUM) and _sum(line[:-SUM_LENGTH]) != line[-10:-2]:
        raise msgspec.DecodeError("its bytes have changed")
    return _decoder.decode(line)


def encode(event: AnyEvent) -> bytes:
    """Encode an event as a line, without checksum and newline."""
    return _encode(event)


def sealed(event: AnyEvent) -> bytes:
    """Encode an event as a line of the file, with checksum and newline."""
    start = _encode(event)[:-1]
    return b'%s%s%s"}\n' % (start, SUM, _sum(start))


def _sum(start: bytes) -> bytes:
    return b"%08x" % zlib.crc32(start)

"""The journal: append-only JSON lines, one writer, any number of readers.

A reader keeps its own offset and takes whole lines only. A torn last line is cut off when
the writer opens the file again; a damaged line elsewhere is skipped and counted. Each line ends
with the CRC-32 of the rest (`"sum"`), so that a digit that changed on the disk is no figure.
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
    """Appends events; the caller holds the sweep's lock, so that there is only one.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._torn, self._path = False, path
        self.doubtful = False
        """Whether the last sync failed, so that a power cut may still take what was appended."""
        mend(path)
        self._durable = self._size()
        if path.stat().st_size == 0:
            self.append(JournalOpened(version=JOURNAL_VERSION, program=__version__))

    def append(self, *events: AnyEvent) -> None:
        """Write events, a line each and all in one stroke, visible to readers at once."""
        size = self._size()
        lines = memoryview(b"\n" * self._torn + b"".join(map(sealed, events)))
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), size)
            # the next event must begin its own line
            self._torn = self._torn or self._size() != size
            raise
        self._torn = False

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def sync(self) -> None:
        """Make everything appended so far survive a power cut.

        A system that could not write pages may forget that they are to be written, and a second
        fsync then succeeds for nothing: so after a failure they are written anew.
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
        """Sync and close."""
        self.sync()
        self._file.close()


def mend(path: Path) -> None:
    """Cut off a last line that has no end, left by a writer that died."""
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
    """Reads whole lines from where it stopped; counts the lines it could not understand.

    Kinds of events named by `without` are passed over as far as the line's first bytes tell.
    """

    def __init__(self, path: Path, without: Iterable[str] = ()) -> None:
        self.path = path
        self.offset = 0
        self.damaged = 0
        self._without = tuple(f'{{"kind":"{kind}"'.encode() for kind in without)

    def read(self, limit: int = CHUNK) -> list[AnyEvent]:
        """The next events, at most about `limit` bytes of them; empty when there are none yet."""
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
        """The events from here to the end of the file, in pieces that fit into memory."""
        before = -1
        while before != self.offset:
            before = self.offset
            yield self.read()

    def read_all(self) -> list[AnyEvent]:
        """Every event from here to the end of the file."""
        return [event for batch in self.batches() for event in batch]


def decode(line: bytes) -> AnyEvent:
    """One line as an event; one without a sum is of a worker, or of an older journal.

    Raises:
        msgspec.MsgspecError: the line is none, or its bytes have changed.
    """
    if line[-SUM_LENGTH:].startswith(SUM) and _sum(line[:-SUM_LENGTH]) != line[-10:-2]:
        raise msgspec.DecodeError("its bytes have changed")
    return _decoder.decode(line)


def encode(event: AnyEvent) -> bytes:
    """One event as a line without its end."""
    return _encode(event)


def sealed(event: AnyEvent) -> bytes:
    """One event as a line of the file, with its sum and its end."""
    start = _encode(event)[:-1]
    return b'%s%s%s"}\n' % (start, SUM, _sum(start))


def _sum(start: bytes) -> bytes:
    return b"%08x" % zlib.crc32(start)

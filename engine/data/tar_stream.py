"""Reads the files of a tar archive (POSIX.1-1988 ustar) from a stream, in a bounded memory.

Python's `tarfile` keeps an extended header in memory, whatever its size. Here one is skipped like
any other member that nobody reads.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

from batchscope.engine.formatting import shown_size

BLOCK = 512
PIECE = 1 << 20
MOST_SKIPPED = 64 << 20
"""Limit for headers and members that nobody reads, in bytes."""
MOST_HEADERS = 10_000

_NAME, _SIZE, _SUM, _KIND = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_REGULAR = (b"0", b"\0", b"7")
_BINARY = 0x80
"""The first byte of a number that is not written in octal digits (GNU tar)."""


class TarError(Exception):
    """The archive is damaged or too large; the message says why."""


def members(
    stream: IO[bytes] | gzip.GzipFile,
) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield the file name, the size and a reader of each regular file; read the stream to its end.

    A reader must be called before the next file is asked for, or not at all; who calls it has
    looked at the size.

    Args:
        stream: the archive, decompressed.

    Raises:
        TarError: a header is damaged, or there are more than `MOST_HEADERS`, or more than
            `MOST_SKIPPED` bytes that nobody reads.
        OSError: what the stream raises.
    """
    skipped = headers = 0
    while len(header := _exactly(stream, BLOCK)) == BLOCK and any(header):
        headers += 1
        if headers > MOST_HEADERS:
            raise TarError(f"it has more than {MOST_HEADERS:,} members")
        size = _size(header)
        padded = -(-size // BLOCK) * BLOCK
        unread = padded
        if header[_KIND] in _REGULAR:

            def read(size: int = size, padded: int = padded) -> bytes:
                nonlocal unread
                content = _exactly(stream, size)
                if len(content) < size:
                    raise TarError("it is truncated")
                unread = padded - size
                return content

            name = header[_NAME].partition(b"\0")[0].decode("utf-8", "replace")
            yield PurePosixPath(name).name, size, read
        skipped += BLOCK + unread
        if skipped > MOST_SKIPPED:
            raise TarError(f"it unpacks to more than {shown_size(MOST_SKIPPED)} of other files")
        while unread:
            piece = stream.read(min(PIECE, unread))
            if not piece:
                raise TarError("it is truncated")
            unread -= len(piece)
    if len(_exactly(stream, PIECE)) == PIECE:  # gzip checks its checksum at the end of the stream
        raise TarError("it goes on after its end")


def _exactly(stream: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    """Read `size` bytes in pieces, or fewer at the end: a header may promise any number."""
    content = bytearray()
    while len(content) < size:
        piece = stream.read(min(PIECE, size - len(content)))
        if not piece:
            break
        content += piece
    return bytes(content)


def _size(header: bytes) -> int:
    """Return the size of the member that a header describes, in bytes."""
    blank = header[: _SUM.start] + b" " * 8 + header[_SUM.stop :]
    if _number(header[_SUM]) != sum(blank):
        raise TarError("a header has changed (wrong checksum)")
    return _number(header[_SIZE])


def _number(field: bytes) -> int:
    if field[0] == _BINARY:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise TarError("a header is damaged") from None

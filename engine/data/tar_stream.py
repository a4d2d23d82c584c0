"""Reads the files of a tar archive (POSIX.1-1988 ustar) from a stream, in a bounded memory.

Python's `tarfile` keeps an extended header in memory, whatever its size. Here one is skipped like
any other member that nobody reads.
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

BLOCK = 512
PIECE = 1 << 20

_NAME, _SIZE, _SUM, _KIND = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_REGULAR = (b"0", b"\0", b"7")
_BINARY = 0x80
"""The first byte of a number that is not written in octal digits (GNU tar)."""


class TarError(Exception):
    """The archive is damaged or too large; the message says why."""


def members(
    stream: IO[bytes] | gzip.GzipFile, most: int
) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield the file name, the size and a reader of each regular file; read the stream to its end.

    A reader must be called before the next file is asked for, or not at all.

    Args:
        stream: the archive, decompressed.
        most: the most bytes that all members may have together.

    Raises:
        TarError: a header is damaged, or the members have more bytes than `most`.
        OSError: what the stream raises.
    """
    left = most
    while len(header := _exactly(stream, BLOCK)) == BLOCK and any(header):
        size = _size(header)
        padded = -(-size // BLOCK) * BLOCK
        left -= BLOCK + padded
        if left < 0:
            raise TarError(f"it unpacks to more than {most:,} bytes")
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

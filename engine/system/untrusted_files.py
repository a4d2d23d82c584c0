"""Reads files that anybody or any failing disk may have changed.

A path may lead to a device, a pipe or a file of any size, and its content may be nested so deeply
that a decoder or a later `repr` exceeds Python's recursion limit. Every file that is read back goes
through this module: only regular files, up to a size and a depth, and every other case is an
`OSError` with a message, or damage.
"""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from batchscope.engine.formatting import shown_size

MOST_BYTES = 16 << 20
"""Limit for a file that one person writes or that describes one sweep."""
MOST_DEPTH = 64
"""Limit for tables in tables and lists in lists."""

Decoded = TypeVar("Decoded")
_PART = rb"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(
    rb"(?:^|[\[{,])[ \t]*+(?:%s\.[ \t]*+){%d}" % (_PART, MOST_DEPTH), re.MULTILINE
)
"""A dotted key of more than `MOST_DEPTH` tables, which `tomllib` reads in quadratic time."""


def open_regular(path: Path, most: int | None = MOST_BYTES, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading, without waiting for a writer of a pipe.

    Args:
        path: the file.
        most: the largest size in bytes; None for any.
        follow: whether the last part of the path may be a symbolic link.

    Returns:
        The file, opened for reading bytes.

    Raises:
        OSError: it is missing, cannot be read, is not a regular file, or is larger than `most`;
            `strerror` says which.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if most is not None and status.st_size > most:
            raise _too_large(path, most)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = MOST_BYTES, follow: bool = True) -> bytes:
    """Read a whole regular file; arguments and errors are those of `open_regular`."""
    with open_regular(path, most, follow) as file:
        content = file.read(most + 1)
    if len(content) > most:  # it has grown since it was opened
        raise _too_large(path, most)
    return content


def read_tail(path: Path, most: int, follow: bool = True) -> bytes:
    """Read the last `most` bytes of a regular file of any size; errors as `open_regular`."""
    with open_regular(path, None, follow) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)


def open_to_write(path: Path, append: bool = False, create: bool = True) -> BinaryIO:
    """Open a regular file that this program alone writes, unbuffered; a link is not followed.

    Args:
        path: the file; it is created with mode 0600, minus the umask.
        append: whether every write goes to the end; otherwise the content can be read, too.
        create: whether to create it if it is missing.

    Raises:
        OSError: it cannot be opened, or is not a regular file; a pipe is not waited for.
    """
    flags = os.O_WRONLY | os.O_APPEND if append else os.O_RDWR
    flags |= os.O_CREAT if create else 0
    safe = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
    descriptor = os.open(path, flags | safe, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        return open(descriptor, "ab" if append else "rb+", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def is_damage(error: OSError) -> bool:
    """Return whether an error means that there is something else than the expected file.

    Otherwise the file cannot be reached: it is missing, or permissions or the disk prevent it.
    """
    return error.errno in (errno.EINVAL, errno.EISDIR, errno.EFBIG, errno.ELOOP, errno.ENXIO)


def decode_json(content: bytes | bytearray | memoryview, of: type[Decoded]) -> Decoded:
    """Decode JSON as a type.

    Raises:
        msgspec.MsgspecError: it is not JSON of this type, is no UTF-8, or is nested too deeply.
    """
    try:
        value = msgspec.json.decode(content, type=of)
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(_reason(error)) from None
    if not isinstance(value, msgspec.Struct) and too_deep(value):
        raise msgspec.DecodeError("it is nested too deeply")
    return value


def decode_toml(content: bytes) -> dict[str, Any]:
    """Decode TOML.

    Raises:
        ValueError: it is not TOML, is no UTF-8, or is nested too deeply.
    """
    text = content.decode("utf-8")
    if _LONG_KEY.search(content):
        raise ValueError("it is nested too deeply")
    try:
        value = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(_reason(error)) from None
    if too_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def too_deep(value: Any, most: int = MOST_DEPTH) -> bool:
    """Return whether dicts and lists are nested more than `most` levels."""
    level: Iterable[Any] = [value]
    for _ in range(most + 1):
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is not UTF-8"


def _too_large(path: Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"is larger than {shown_size(most)}", str(path))

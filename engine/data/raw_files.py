"""The result, the error and the checks that the readers of data sets share."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.errors import MachineProblem, printable

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
PIECE = 1 << 20
_TRAILER = 512
"""Bytes at the end of a gzip file that are not all zero: the last four are a length."""
MOST_TIMES = 10
"""A part of a data set may have this many times as many images as the published training set."""
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Errors of a machine that lacks something for a moment: descriptors, memory, processes."""


class DataError(MachineProblem):
    """Data are missing, damaged or of another kind; the message is made printable.

    Args:
        message: what is wrong.
        passing: whether another attempt may succeed, because the machine only lacked something.
    """

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(printable(message))
        self.passing = passing


class RawDataset(NamedTuple):
    """A data set as read: images (N, channels, height, width), labels (N,)."""

    train_images: Pixels
    train_labels: Labels
    test_images: Pixels
    test_labels: Labels


def most_images(dataset: Dataset) -> int:
    """Return how many images a part of a data set may have: a header may promise any number."""
    return MOST_TIMES * dataset.train_size


def check_root(root: Path) -> None:
    """Raise `DataError` unless `root` is a folder."""
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise unreadable(root, error) from None
    if not stat.S_ISDIR(mode):
        raise DataError(f"{root}: not a folder")


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False if a folder above it cannot be entered."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_gzip_end(file: BinaryIO) -> None:
    """Raise `OSError` if a gzip file ends in zeros, over which Python would step byte by byte.

    The file is at its beginning afterwards.
    """
    file.seek(-min(_TRAILER, file.seek(0, os.SEEK_END)), os.SEEK_END)
    if not any(file.read(_TRAILER)):
        raise OSError(errno.EINVAL, "is incomplete: it ends in zeros")
    file.seek(0)


def check_counts(images: int, labels: int, where: object) -> None:
    """Raise `DataError` unless there is a label for each image."""
    if images != labels:
        raise DataError(f"{where}: {labels:,} labels for {images:,} images, expected one for each")


def check_labels(labels: list[Any], classes: int, where: object) -> None:
    """Raise `DataError` unless every label is a class number."""
    for place, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < classes:
            short = isinstance(label, int) and abs(label) < 1 << 63
            shown = label if short else type(label).__name__
            raise DataError(f"{where}: label {place} is {shown}, expected 0 to {classes - 1}")


def text(value: bytes | str) -> str:
    """Return a string that Python 2 may have written as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def times(shape: Iterable[int]) -> str:
    """Format a shape as 60000×28×28."""
    return "×".join(map(str, shape))


def reason(error: BaseException) -> str:
    """Return an error's reason without the file's name, which an OSError's text repeats."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def unreadable(path: Path, error: BaseException) -> DataError:
    """Return the error for a file that cannot be read."""
    passing = isinstance(error, OSError) and error.errno in SCARCE
    return DataError(f"{path}: cannot be read: {reason(error)}", passing)


def disk_error(error: OSError, data: Path) -> DataError:
    """Return the error for data that cannot be written to disk."""
    path = error.filename if isinstance(error.filename, str) else data
    why = f"{path}: data cannot be written here: {error.strerror or error}"
    return DataError(why, error.errno in SCARCE)

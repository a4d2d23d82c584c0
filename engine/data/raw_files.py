"""The result, the error and the checks that the readers of data sets share."""

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.errors import MachineProblem, printable

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
PIECE = 1 << 20


class DataError(MachineProblem):
    """Data are missing, damaged or of another kind; the message is made printable."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class RawDataset(NamedTuple):
    """A data set as read: images (N, channels, height, width), labels (N,)."""

    train_images: Pixels
    train_labels: Labels
    test_images: Pixels
    test_labels: Labels


def check_root(root: Path) -> None:
    """Raise `DataError` unless `root` is a folder."""
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise DataError(f"{root}: cannot be read: {reason(error)}") from None
    if not stat.S_ISDIR(mode):
        raise DataError(f"{root}: not a folder")


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False if a folder above it cannot be entered."""
    try:
        return path.is_file()
    except OSError:
        return False


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


def disk_error(error: OSError, data: Path) -> DataError:
    """Return the error for data that cannot be written to disk."""
    path = error.filename if isinstance(error.filename, str) else data
    return DataError(f"{path}: data cannot be written here: {error.strerror or error}")

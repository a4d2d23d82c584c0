"""Reads the files of MNIST, Fashion-MNIST and CIFAR-10 as their authors publish them.

The folders are those of torchvision, with any number of images and no checksum. Any problem with a
file raises `DataError`, and no file can make the reader run code. This module reads the IDX format
of the MNIST family (yann.lecun.com/exdb/mnist); `engine.data.cifar10_files` reads CIFAR-10.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.data.cifar10_files import cifar10_files, read_cifar10
from batchscope.engine.data.raw_files import (
    PIECE,
    DataError,
    Labels,
    Pixels,
    RawDataset,
    check_counts,
    check_gzip_end,
    check_labels,
    check_root,
    is_file,
    most_images,
    times,
    unreadable,
)
from batchscope.engine.system.untrusted_files import open_regular

_Stream = IO[bytes] | gzip.GzipFile

MNIST_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
# torchvision's folders of the MNIST family, in which the files have the same names.
_MNIST_FAMILY = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST")
MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IDX_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_SLACK = 1 << 16
"""Bytes that a file may have besides its data: headers, and what gzip adds to bytes that it cannot
compress."""

_MOST = most_images(DATASETS["mnist"]) * math.prod(DATASETS["mnist"].shape)


def source_files(name: str, root: Path) -> tuple[Path, ...]:
    """Return the files that `read_files` would read, in whichever layout they are.

    Raises:
        DataError: some are missing.
    """
    if name == "cifar10":
        return cifar10_files(root)
    return _mnist_files(root, MNIST_FOLDERS[name])


def read_files(name: str, root: Path) -> RawDataset:
    """Read the data set `name` (any but digits) below `root`.

    Raises:
        DataError: files are missing or damaged.
    """
    if name == "cifar10":
        return read_cifar10(root)
    return read_mnist(root, MNIST_FOLDERS[name])


def read_mnist(root: Path, folder: str = "MNIST") -> RawDataset:
    """Read the four IDX files of `<root>/<folder>/raw`, or those in `<root>/raw` or `<root>`.

    Raises:
        DataError: a file is missing or damaged, or the counts of images and labels disagree.
    """
    dataset = DATASETS["mnist"]
    train_images, train_labels, test_images, test_labels = _mnist_files(root, folder)
    return RawDataset(
        *_mnist_part(train_images, train_labels, dataset),
        *_mnist_part(test_images, test_labels, dataset),
    )


def read_idx(path: Path, most: int = _MOST) -> Pixels:
    """Read one IDX file of unsigned bytes, plain or compressed by gzip.

    Args:
        path: the file.
        most: the most bytes of data that are read.

    Raises:
        DataError: it cannot be read, is not an IDX file, has another type, has no data or too many,
            or is shorter or longer than its header says.
    """
    try:
        with open_regular(path, most + most // 1000 + _SLACK) as file:
            size = os.fstat(file.fileno()).st_size
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _idx_array(file, path, size, most)
            check_gzip_end(file)
            with gzip.GzipFile(fileobj=file) as stream:
                return _idx_array(stream, path, size, most)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None


def _idx_array(stream: _Stream, path: Path, size: int, most: int) -> Pixels:
    shape = _idx_shape(stream, path)
    expected = math.prod(shape)
    if expected > most:
        raise DataError(
            f"{path}: its header says {times(shape)}, but at most {most:,} bytes of data are read"
        )
    if size > expected + expected // 1000 + _SLACK:  # whatever follows is not worth unpacking
        raise DataError(f"{path}: longer than its header says: {times(shape)}")
    body = _read_at_most(stream, expected + 1)
    if len(body) != expected:
        wrong = "truncated" if len(body) < expected else "longer than its header says"
        got = f"{len(body):,}" if len(body) < expected else "more"
        raise DataError(f"{path}: {wrong}: expected {expected:,} bytes of data, got {got}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _idx_shape(stream: _Stream, path: Path) -> tuple[int, ...]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path}: the file is empty, expected an IDX file")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file, which begins with two zero bytes")
    _, _, kind, dimensions = magic
    if kind != _IDX_UNSIGNED_BYTE:
        raise DataError(f"{path}: expected unsigned bytes (IDX type 0x08), got type 0x{kind:02X}")
    if dimensions not in (1, 3):
        raise DataError(f"{path}: expected 1 dimension (labels) or 3 (images), got {dimensions}")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path}: truncated: its header is incomplete")
    shape = struct.unpack(f">{dimensions}I", sizes)
    if 0 in shape:
        raise DataError(f"{path}: no data: its header says {times(shape)}")
    return shape


def _read_at_most(stream: _Stream, size: int) -> bytearray:
    """Read at most `size` bytes in pieces, so that a wrong header does not allocate memory."""
    body = bytearray()
    while len(body) < size:
        piece = stream.read(min(PIECE, size - len(body)))
        if not piece:
            break
        body += piece
    return body


def _mnist_part(images_path: Path, labels_path: Path, dataset: Dataset) -> tuple[Pixels, Labels]:
    most = most_images(dataset)
    images = read_idx(images_path, most * math.prod(dataset.shape))
    labels = read_idx(labels_path, most)
    if images.shape[1:] != dataset.shape[1:]:
        expected = times(dataset.shape[1:])
        raise DataError(
            f"{images_path}: expected images of {expected} pixels, but its header says "
            f"{times(images.shape)}"
        )
    if labels.ndim != 1:
        raise DataError(f"{labels_path}: expected a list of labels, got {times(labels.shape)}")
    check_counts(len(images), len(labels), labels_path)
    check_labels(labels.tolist(), dataset.classes, labels_path)
    return images[:, np.newaxis], labels.astype(np.int64)


def _mnist_files(root: Path, folder: str) -> tuple[Path, ...]:
    check_root(root)
    places = [root / folder / "raw", root / folder]
    here = root.resolve()
    owner = here.parent.name if here.name == "raw" else here.name
    if owner == folder or owner not in _MNIST_FAMILY:
        places += [root / "raw", root]
    for place in places:
        paths = [_plain_or_gz(place / name) for name in MNIST_FILES]
        if any(paths):
            return tuple(_present(path, place / MNIST_FILES[i]) for i, path in enumerate(paths))
    raise DataError(
        f"{root}: no {folder} here; expected {folder}/raw/{MNIST_FILES[0]} (or .gz)"
        " and three other files"
    )


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if is_file(p)), None)


def _present(path: Path | None, expected: Path) -> Path:
    if path is None:
        raise DataError(f"{expected}: missing, and so is {expected.name}.gz")
    return path

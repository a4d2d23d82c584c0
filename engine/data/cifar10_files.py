"""Reads CIFAR-10 (www.cs.toronto.edu/~kriz/cifar.html) from its batches or its archive.

Its files are pickles, which can run code when loaded; the unpickler here allows nothing that does.
"""

import gzip
import io
import math
import pickle
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.raw_files import (
    PIECE,
    DataError,
    Labels,
    Pixels,
    RawDataset,
    check_counts,
    check_labels,
    check_root,
    is_file,
    reason,
    text,
    times,
)

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def read_cifar10(root: Path) -> RawDataset:
    """Read the six batches of `<root>/cifar-10-batches-py`, those in `<root>`, or the archive.

    Raises:
        DataError: a file is missing, damaged, or has other objects than arrays and lists.
    """
    batches = [_cifar10_batch(content, where) for content, where in _cifar10_contents(root)]
    *train, test = batches
    images = np.concatenate([pixels for pixels, _ in train])
    labels = np.concatenate([answers for _, answers in train])
    if not len(images) or not len(test[0]):
        raise DataError(f"{root}: CIFAR-10 has no training images or no test images")
    return RawDataset(images, labels, *test)


def cifar10_files(root: Path) -> tuple[Path, ...]:
    """Return the paths of the six batches, or of the one archive.

    Raises:
        DataError: a file is missing; the message names the first one.
    """
    check_root(root)
    archive = root / CIFAR10_ARCHIVE
    for place in (root / CIFAR10_FOLDER, root):
        paths = tuple(place / name for name in CIFAR10_FILES)
        missing = [path for path in paths if not is_file(path)]
        if not missing:
            return paths
        if len(missing) < len(paths) and not is_file(archive):
            raise DataError(f"{missing[0]}: missing; expected {len(paths)} batches in this folder")
    if is_file(archive):
        return (archive,)
    raise DataError(f"{root}: no CIFAR-10 here; expected {CIFAR10_FOLDER}/ or {CIFAR10_ARCHIVE}")


def _cifar10_contents(root: Path) -> Iterable[tuple[bytes, str]]:
    """Yield content and name of each batch in the order of `CIFAR10_FILES`."""
    paths = cifar10_files(root)
    if len(paths) > 1:
        for path in paths:
            try:
                yield path.read_bytes(), str(path)
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {reason(error)}") from None
        return
    batches = _archived(paths[0])
    for name in CIFAR10_FILES:
        if name not in batches:
            raise DataError(f"{paths[0]}: {CIFAR10_FOLDER}/{name} is missing in this archive")
        yield batches[name], f"{paths[0]}: {name}"


def _archived(path: Path) -> dict[str, bytes]:
    """Read the batches of the archive by name, in one pass: a second would decompress it again."""
    batches: dict[str, bytes] = {}
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    content = archive.extractfile(member) if member.isreg() else None
                    if name in CIFAR10_FILES and content is not None:
                        batches[name] = content.read()
            while stream.read(PIECE):  # gzip checks its checksum at the end of the stream
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None
    return batches


def _cifar10_batch(content: bytes, where: str) -> tuple[Pixels, Labels]:
    dataset = DATASETS["cifar10"]
    try:
        batch = _Unpickler(content, where).load()
        fields = {text(key): value for key, value in batch.items()}
        images = fields["data"].array()
        labels = fields["labels"]
        labels = labels.array().tolist() if isinstance(labels, _Array) else list(labels)
    except DataError:
        raise
    except Exception:  # a damaged pickle may raise nearly anything
        raise DataError(f"{where}: damaged; expected a batch of CIFAR-10 (a pickle)") from None
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != math.prod(dataset.shape):
        raise DataError(
            f"{where}: expected rows of {math.prod(dataset.shape):,} bytes,"
            f" got {times(images.shape)} of {images.dtype}"
        )
    check_counts(len(images), len(labels), where)
    check_labels(labels, dataset.classes, where)
    return images.reshape(-1, *dataset.shape), np.array(labels, dtype=np.int64)


class _Dtype:
    """Replaces `numpy.dtype`: records the integer type of an array."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        self.code = text(code)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = text(state[1])


class _Array:
    """Replaces `numpy.ndarray`: records what the array is made of.

    numpy's own classes trust the types and sizes in a pickle, so none of them is allowed.
    """

    shape: tuple[int, ...]
    dtype: _Dtype
    column_major: bool
    raw: bytes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.column_major, self.raw = state

    def array(self) -> NDArray[Any]:
        """Return the array in its shape; raise if its values are not integers."""
        if self.dtype.code[0] not in "iu":
            raise ValueError(self.dtype.code)
        dtype = np.dtype(self.dtype.order + self.dtype.code)
        flat: NDArray[Any] = np.frombuffer(self.raw, dtype=dtype)
        return flat.reshape(self.shape, order="F" if self.column_major else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: int) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Encode a text; Python 3 pickles bytes for Python 2 as a call of this function."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Reads dicts, lists, numbers and bytes, and replaces numpy's classes by those above.

    A pickle may name any function to call; here only those in `_ADMITTED` can be found.
    """

    def __init__(self, content: bytes, where: str) -> None:
        # The published files were written by Python 2, where strings are bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"{self._where}: not loaded, because it uses {module}.{name};"
                " a batch of CIFAR-10 has only arrays, lists and strings"
            ) from None

"""Reads the files of MNIST, Fashion-MNIST and CIFAR-10 as their authors publish them.

The folders are those of torchvision, with any number of images and no checksum. Whatever
is wrong with a file ends in a `DataError`; no file can make the reader run code.

Sources: the IDX format, yann.lecun.com/exdb/mnist; the batches of CIFAR-10,
www.cs.toronto.edu/~kriz/cifar.html.
"""

import gzip
import io
import math
import os
import pickle
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.datasets import DATASETS, Dataset
from engine.problems import MachineProblem, printable

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
_Stream = IO[bytes] | gzip.GzipFile

MNIST_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
# torchvision's folders of this family: the files in them have the same names.
_MNIST_FAMILY = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST")
MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

_IDX_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20


class DataError(MachineProblem):
    """Data that are missing, damaged or not what their name says; fit for a person to read."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Images(NamedTuple):
    """A data set as read: images (N, channels, height, width), labels (N,)."""

    train_images: Pixels
    train_labels: Labels
    test_images: Pixels
    test_labels: Labels


def source_files(name: str, root: Path) -> tuple[Path, ...]:
    """The files that `read_files` would read; which of several layouts they are in is settled.

    Raises:
        DataError: some are missing.
    """
    if name == "cifar10":
        return _cifar10_files(root)
    return _mnist_files(root, MNIST_FOLDERS[name])


def read_files(name: str, root: Path) -> Images:
    """Read the data set `name` (any but digits) below `root`.

    Raises:
        DataError: files are missing or damaged.
    """
    if name == "cifar10":
        return read_cifar10(root)
    return read_mnist(root, MNIST_FOLDERS[name])


# ---- MNIST and Fashion-MNIST


def read_mnist(root: Path, folder: str = "MNIST") -> Images:
    """Read the four IDX files of `<root>/<folder>/raw`, or those in `<root>/raw` or `<root>`.

    Raises:
        DataError: a file is missing or damaged, or the counts of images and labels disagree.
    """
    dataset = DATASETS["mnist"]
    train_images, train_labels, test_images, test_labels = _mnist_files(root, folder)
    return Images(
        *_mnist_part(train_images, train_labels, dataset),
        *_mnist_part(test_images, test_labels, dataset),
    )


def read_idx(path: Path) -> Pixels:
    """Read one IDX file of unsigned bytes, as it is or compressed by gzip (its content tells).

    Raises:
        DataError: it cannot be read, is no IDX file, holds another type, holds nothing, or
            is shorter or longer than its header says.
    """
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _idx_array(file, path)
            with gzip.GzipFile(fileobj=file) as stream:
                return _idx_array(stream, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None


def _idx_array(stream: _Stream, path: Path) -> Pixels:
    shape = _idx_shape(stream, path)
    expected = math.prod(shape)
    body = _read_at_most(stream, expected + 1)
    if len(body) != expected:
        wrong = "truncated" if len(body) < expected else "longer than its header says"
        holds = f"{len(body):,}" if len(body) < expected else "more"
        raise DataError(f"{path}: {wrong}: expected {expected:,} bytes of data, it holds {holds}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _idx_shape(stream: _Stream, path: Path) -> tuple[int, ...]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path}: is empty, expected an IDX file")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{path}: is no IDX file: expected it to begin with two zero bytes")
    _, _, kind, dimensions = magic
    if kind != _IDX_UNSIGNED_BYTE:
        raise DataError(f"{path}: holds IDX type 0x{kind:02X}, expected unsigned bytes (0x08)")
    if dimensions not in (1, 3):
        raise DataError(f"{path}: has {dimensions} dimensions, expected 1 (labels) or 3 (images)")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path}: truncated: its header is incomplete")
    shape = struct.unpack(f">{dimensions}I", sizes)
    if 0 in shape:
        raise DataError(f"{path}: holds no data: its header says {_times(shape)}")
    return shape


def _read_at_most(stream: _Stream, size: int) -> bytearray:
    """In pieces, so that a header which promises too much costs no memory."""
    body = bytearray()
    while len(body) < size:
        piece = stream.read(min(_PIECE, size - len(body)))
        if not piece:
            break
        body += piece
    return body


def _mnist_part(images_path: Path, labels_path: Path, dataset: Dataset) -> tuple[Pixels, Labels]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != dataset.shape[1:]:
        expected = _times(dataset.shape[1:])
        raise DataError(
            f"{images_path}: expected images of {expected}, its header says {_times(images.shape)}"
        )
    if labels.ndim != 1:
        raise DataError(f"{labels_path}: expected one row of labels, got {_times(labels.shape)}")
    _check_counts(len(images), len(labels), labels_path)
    _check_labels(labels.tolist(), dataset.classes, labels_path)
    return images[:, np.newaxis], labels.astype(np.int64)


def _mnist_files(root: Path, folder: str) -> tuple[Path, ...]:
    _check_root(root)
    places = [root / folder / "raw", root / folder]
    here = root.resolve()
    owner = here.parent.name if here.name == "raw" else here.name
    if owner == folder or owner not in _MNIST_FAMILY:
        places += [root / "raw", root]
    for place in places:
        found = [_plain_or_gz(place / name) for name in MNIST_FILES]
        if any(found):
            return tuple(_present(path, place / MNIST_FILES[i]) for i, path in enumerate(found))
    raise DataError(
        f"{root}: holds no {folder}: expected {folder}/raw/{MNIST_FILES[0]} (or .gz)"
        " and its three companions"
    )


def _plain_or_gz(path: Path) -> Path | None:
    # Not Path.is_file, which raises where a folder on the way may not be entered.
    return next((p for p in (path, path.with_name(path.name + ".gz")) if os.path.isfile(p)), None)


def _present(found: Path | None, expected: Path) -> Path:
    if found is None:
        raise DataError(f"{expected}: missing (expected it, or the same with .gz)")
    return found


# ---- CIFAR-10


def read_cifar10(root: Path) -> Images:
    """Read the six batches of `<root>/cifar-10-batches-py`, those in `<root>`, or the archive.

    Raises:
        DataError: a file is missing, damaged, or asks for more than arrays and lists.
    """
    batches = [_cifar10_batch(content, where) for content, where in _cifar10_contents(root)]
    *train, test = batches
    images = np.concatenate([pixels for pixels, _ in train])
    labels = np.concatenate([answers for _, answers in train])
    if not len(images) or not len(test[0]):
        raise DataError(f"{root}: CIFAR-10 without images: expected some to train and to test on")
    return Images(images, labels, *test)


def _cifar10_files(root: Path) -> tuple[Path, ...]:
    """The six batches, or the one archive, or the error that names the first missing file."""
    _check_root(root)
    archive = root / CIFAR10_ARCHIVE
    for place in (root / CIFAR10_FOLDER, root):
        paths = tuple(place / name for name in CIFAR10_FILES)
        missing = [path for path in paths if not os.path.isfile(path)]
        if not missing:
            return paths
        if len(missing) < len(paths) and not os.path.isfile(archive):
            raise DataError(f"{missing[0]}: missing (expected {len(paths)} batches beside it)")
    if os.path.isfile(archive):
        return (archive,)
    raise DataError(f"{root}: holds no CIFAR-10: expected {CIFAR10_FOLDER}/ or {CIFAR10_ARCHIVE}")


def _cifar10_contents(root: Path) -> Iterable[tuple[bytes, str]]:
    """The bytes of each batch, in the order of `CIFAR10_FILES`, and what to call it."""
    paths = _cifar10_files(root)
    if len(paths) > 1:
        for path in paths:
            try:
                yield path.read_bytes(), str(path)
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
        return
    found = _archived(paths[0])
    for name in CIFAR10_FILES:
        if name not in found:
            raise DataError(f"{paths[0]}: lacks {CIFAR10_FOLDER}/{name}")
        yield found[name], f"{paths[0]}: {name}"


def _archived(path: Path) -> dict[str, bytes]:
    """The batches of the archive by name, in one pass: going back would decompress again."""
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    content = archive.extractfile(member) if member.isreg() else None
                    if name in CIFAR10_FILES and content is not None:
                        found[name] = content.read()
            while stream.read(_PIECE):  # gzip checks its sum where the stream ends
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
    return found


def _cifar10_batch(content: bytes, where: str) -> tuple[Pixels, Labels]:
    dataset = DATASETS["cifar10"]
    try:
        batch = _Unpickler(content, where).load()
        fields = {_text(key): value for key, value in batch.items()}
        images = fields["data"].array()
        labels = fields["labels"]
        labels = labels.array().tolist() if isinstance(labels, _Array) else list(labels)
    except DataError:
        raise
    except Exception:  # a damaged pickle may raise nearly anything
        raise DataError(
            f"{where}: expected a batch of CIFAR-10 (a pickle), it is damaged"
        ) from None
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != math.prod(dataset.shape):
        raise DataError(
            f"{where}: expected rows of {math.prod(dataset.shape):,} bytes,"
            f" got {_times(images.shape)} of {images.dtype}"
        )
    _check_counts(len(images), len(labels), where)
    _check_labels(labels, dataset.classes, where)
    return images.reshape(-1, *dataset.shape), np.array(labels, dtype=np.int64)


class _Dtype:
    """Stands in for `numpy.dtype`: notes which integers an array holds."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        self.code = _text(code)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array:
    """Stands in for `numpy.ndarray`: notes what to make it of.

    numpy's own classes trust a pickle's word on types and sizes, so none of them is let in.
    """

    shape: tuple[int, ...]
    dtype: _Dtype
    column_major: bool
    raw: bytes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.column_major, self.raw = state

    def array(self) -> NDArray[Any]:
        """The array, of its own shape; anything but integers raises."""
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
    """Python 3 writes bytes in this way for Python 2."""
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
    """Reads dicts, lists, numbers and bytes, and our stand-ins for what arrays are made of.

    A pickle is a program that may name any function to call; only the names above exist here.
    """

    def __init__(self, content: bytes, where: str) -> None:
        # Python 2 wrote the published files: its texts are bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"{self._where}: refused: it asks for {module}.{name},"
                " and a batch of CIFAR-10 needs only arrays, lists and texts"
            ) from None


# ---- shared


def _check_root(root: Path) -> None:
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise DataError(f"{root}: cannot be read: {_reason(error)}") from None
    if not stat.S_ISDIR(mode):
        raise DataError(f"{root}: is no folder")


def _check_counts(images: int, labels: int, where: object) -> None:
    if images != labels:
        raise DataError(f"{where}: {labels:,} labels for {images:,} images")


def _check_labels(labels: list[Any], classes: int, where: object) -> None:
    for place, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < classes:
            short = isinstance(label, int) and abs(label) < 1 << 63
            shown = label if short else type(label).__name__
            raise DataError(f"{where}: label {place} is {shown}, expected 0 to {classes - 1}")


def _text(value: bytes | str) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _times(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


def _reason(error: BaseException) -> str:
    """Why, in a few words: an OSError's own text names the file once more."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

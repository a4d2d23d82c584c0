"""Reads CIFAR-10 (www.cs.toronto.edu/~kriz/cifar.html) from its batches or its archive.

Its files are pickles, which `engine.data.array_pickle` reads without running code. The archive is
read member by member, and no size that it states is believed.
"""

import gzip
import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from batchscope.engine.data import array_pickle
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.raw_files import (
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
    text,
    times,
    unreadable,
)
from batchscope.engine.data.tar_stream import TarError, members
from batchscope.engine.formatting import shown_size
from batchscope.engine.system.untrusted_files import open_regular, read_bytes

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

_DATASET = DATASETS["cifar10"]
_MOST_IMAGES = most_images(_DATASET) // 5  # of a batch
_MOST_BYTES = _MOST_IMAGES * (math.prod(_DATASET.shape) + 64)  # with labels and file names
_INSTRUCTIONS = 6  # of a pickle for each image: one for its label, and up to five for its name
_MOST_ARCHIVE = len(CIFAR10_FILES) * _MOST_BYTES


def read_cifar10(root: Path) -> RawDataset:
    """Read the six batches of `<root>/cifar-10-batches-py`, those in `<root>`, or the archive.

    Raises:
        DataError: a file is missing, damaged, or has other objects than arrays and lists.
    """
    batches = list(_batches(root))
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


def _batches(root: Path) -> Iterable[tuple[Pixels, Labels]]:
    """Yield the images and labels of each batch in the order of `CIFAR10_FILES`."""
    paths = cifar10_files(root)
    if len(paths) > 1:
        for path in paths:
            try:
                content = read_bytes(path, _MOST_BYTES)
            except OSError as error:
                raise unreadable(path, error) from None
            yield _cifar10_batch(content, str(path))
        return
    batches = _archived(paths[0])
    for name in CIFAR10_FILES:
        if name not in batches:
            raise DataError(f"{paths[0]}: {CIFAR10_FOLDER}/{name} is missing in this archive")
        yield batches[name]


def _archived(path: Path) -> dict[str, tuple[Pixels, Labels]]:
    """Read the batches of the archive by name, in one pass: a second would decompress it again."""
    batches = {}
    try:
        with open_regular(path, _MOST_ARCHIVE) as file:
            check_gzip_end(file)
            with gzip.open(file) as stream:
                for name, size, read in members(stream):
                    if name not in CIFAR10_FILES:
                        continue
                    if name in batches:
                        raise TarError(f"{name} is there twice")
                    if size > _MOST_BYTES:
                        raise TarError(f"{name} is larger than {shown_size(_MOST_BYTES)}")
                    batches[name] = _cifar10_batch(read(), f"{path}: {name}")
    except (TarError, OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None
    return batches


def _cifar10_batch(content: bytes, where: str) -> tuple[Pixels, Labels]:
    try:
        batch = array_pickle.load(content, where, _INSTRUCTIONS * _MOST_IMAGES)
        fields = {text(key): value for key, value in batch.items()}
        images = fields["data"].array()
        labels = fields["labels"]
        labels = labels.array() if isinstance(labels, array_pickle.Array) else list(labels)
    except DataError:
        raise
    except Exception:  # a damaged pickle may raise nearly anything
        raise DataError(f"{where}: damaged; expected a batch of CIFAR-10 (a pickle)") from None
    width = math.prod(_DATASET.shape)
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != width:
        raise DataError(
            f"{where}: expected rows of {width:,} bytes,"
            f" got {times(images.shape)} of {images.dtype}"
        )
    if isinstance(labels, np.ndarray) and labels.ndim != 1:
        raise DataError(f"{where}: expected a list of labels, got {times(labels.shape)}")
    check_counts(len(images), len(labels), where)
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    check_labels(labels, _DATASET.classes, where)
    return images.reshape(-1, *_DATASET.shape), np.array(labels, dtype=np.int64)

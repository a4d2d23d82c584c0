"""Prepares a data set once, under a lock, as arrays that every worker maps into memory.

Below the home folder:

    data/raw/                    the downloaded files, as published
    data/<name>.lock             locked while <name> is downloaded or prepared
    data/<name>-<key>/           the arrays, as `load_arrays` returns them, and prepared.json

The arrays are written into a temporary folder that is then renamed, so that a folder with its final
name is complete. `<key>` is "bundled", "download", or a hash of the source folder and its files.

`python -P -m batchscope.engine.data.prepare NAME HOME [DATA_DIR]` writes its progress and its
result on stdout, as lines of JSON.
"""

import contextlib
import fcntl
import hashlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data import mnist_files
from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.data.download import Progress, downloaded
from batchscope.engine.data.prepared import FORMAT, Prepared
from batchscope.engine.data.raw_files import DataError, RawDataset, disk_error
from batchscope.engine.errors import nearest
from batchscope.engine.system.files import remove, sync, sync_file

Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]

SUMMARY = "prepared.json"
ARRAYS = RawDataset._fields

_REPORT_SECONDS = 0.5
_IMAGES_AT_ONCE = 512


def _ignore(received: int, total: int) -> None:
    """Ignore progress."""


def prepare(
    name: str, home: Path, data_dir: Path | None = None, progress: Progress = _ignore
) -> Prepared:
    """Prepare a data set below `home`, unless it is prepared already.

    Args:
        name: name of the data set.
        home: the home folder.
        data_dir: folder with the published files; None downloads them. Not used for digits, which
            come with scikit-learn.
        progress: is called with received and total bytes during a download.

    Raises:
        DataError: the name is unknown, files are missing or damaged, the download failed, or the
            disk is full or not writable.
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}{nearest(name, DATASETS)}")
    dataset = DATASETS[name]
    source = None if name == "digits" or data_dir is None else Path(os.path.realpath(data_dir))
    data = home.absolute() / "data"
    folder = data / f"{name}-{_key(name, source)}"
    try:
        str(folder).encode()
        return _whole(dataset, folder) or _prepare_locked(dataset, data, folder, source, progress)
    except UnicodeEncodeError:
        raise DataError(f"{home}: the folder's name is not valid UTF-8; choose another") from None
    except OSError as error:
        raise disk_error(error, data) from None


def load_arrays(prepared: Prepared) -> Arrays:
    """Map the arrays of a prepared data set into memory, shared between processes.

    Returns:
        Training images (N, C, H, W) as normalized float32, training labels (N,) as int64, test
        images and test labels. Writing to an array changes only this process's copy.

    Raises:
        DataError: the files are missing or damaged.
    """
    folder = Path(prepared.folder)
    try:
        first, second, third, fourth = (_mapped(folder / f"{name}.npy") for name in ARRAYS)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{folder}: prepared data cannot be read: {error}") from None
    return first, second, third, fourth


# ---- existing preparations


def _key(name: str, source: Path | None) -> str:
    """Return the key of a source: a hash that changes with each of its files."""
    if name == "digits":
        return "bundled"
    if source is None:
        return "download"
    made_of = [os.fsencode(source)]
    for path in mnist_files.source_files(name, source):
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        made_of.append(os.fsencode(path))
        made_of.append(f"{status.st_size} {status.st_mtime_ns}".encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


def _whole(dataset: Dataset, folder: Path) -> Prepared | None:
    """Return the data set prepared in a folder; None unless complete and in this format."""
    try:
        prepared = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=Prepared)
        sizes = [prepared.train, prepared.train, prepared.test, prepared.test]
        for name, size in zip(ARRAYS, sizes, strict=True):
            path = folder / f"{name}.npy"
            array = _mapped(path)
            images = name.endswith("images")
            right = array.shape == ((size, *dataset.shape) if images else (size,))
            right &= array.dtype == (np.float32 if images else np.int64)
            if not right or path.stat().st_size != array.offset + array.nbytes:
                return None
    except (OSError, EOFError, ValueError, msgspec.MsgspecError):
        return None
    if (prepared.name, prepared.format) != (dataset.name, FORMAT):
        return None
    # the home may have been moved
    return msgspec.structs.replace(prepared, folder=str(folder))


def _mapped(path: Path) -> "np.memmap[Any, Any]":
    array = np.load(path, mmap_mode="c")
    if not isinstance(array, np.memmap):
        raise ValueError(f"{path} is not an array")
    return array


# ---- preparing


def _prepare_locked(
    dataset: Dataset, data: Path, folder: Path, source: Path | None, progress: Progress
) -> Prepared:
    data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    with _locked(data / f"{dataset.name}.lock"):
        # another process may have prepared it while this one waited for the lock
        if prepared := _whole(dataset, folder):
            return prepared
        # the lock is held, so an unfinished folder was left by a killed process
        for leftover in data.glob(f".{dataset.name}-*.partial"):
            remove(leftover)
        images = _read(dataset, data, source, progress)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=data))
        try:
            prepared = _write(dataset, images, partial, folder)
            remove(folder)
            partial.rename(folder)
        finally:
            remove(partial)
        sync(data)
        return prepared


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock in this context; the system releases it if the process dies."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(dataset: Dataset, data: Path, source: Path | None, progress: Progress) -> RawDataset:
    if dataset.name == "digits":
        return _digits(dataset)
    if source is not None:
        return mnist_files.read_files(dataset.name, source)
    return downloaded(dataset, data / "raw", progress)


def _digits(dataset: Dataset) -> RawDataset:
    """Return scikit-learn's digits, shuffled with a fixed seed and split.

    `RandomState` is frozen by NumPy's policy (NEP 19), so the split is the same everywhere.
    """
    bundle = importlib.import_module("sklearn.datasets").load_digits()
    order = np.random.RandomState(0).permutation(len(bundle.target))
    images = bundle.images.astype(np.uint8)[order, np.newaxis]
    labels = bundle.target.astype(np.int64)[order]
    cut = dataset.train_size
    return RawDataset(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _write(dataset: Dataset, images: RawDataset, partial: Path, folder: Path) -> Prepared:
    """Write the arrays and their summary into `partial`, which will be renamed to `folder`."""
    table = normalization_table(dataset)
    digest = hashlib.sha256()
    for name, array in images._asdict().items():
        # written, not mapped: if the disk is full, a write raises, a mapping kills the process
        with open(partial / f"{name}.npy", "wb") as file:
            dtype = "<f4" if name.endswith("images") else "<i8"
            header = {"descr": dtype, "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(array), _IMAGES_AT_ONCE):
                part = array[start : start + _IMAGES_AT_ONCE]
                final = _normalized(part, table) if name.endswith("images") else part
                content = final.astype(dtype, copy=False).tobytes()
                digest.update(content)
                file.write(content)
            sync_file(file)
    prepared = Prepared(
        name=dataset.name,
        folder=str(folder),
        train=len(images.train_labels),
        test=len(images.test_labels),
        shape=dataset.shape,
        classes=dataset.classes,
        digest=digest.hexdigest(),
    )
    with open(partial / SUMMARY, "wb") as file:
        file.write(msgspec.json.encode(prepared))
        sync_file(file)
    sync(partial)
    return prepared


def normalization_table(dataset: Dataset) -> NDArray[np.float32]:
    """Return the normalized value of each pixel value, (channels, pixel_max + 1).

    The operations, their order and their precision are those of torchvision's `ToTensor` and
    `Normalize`, so the results are bit-identical.
    """
    scaled = np.arange(dataset.pixel_max + 1, dtype=np.float32) / np.float32(dataset.pixel_max)
    mean = np.array(dataset.mean, dtype=np.float32)[:, np.newaxis]
    std = np.array(dataset.std, dtype=np.float32)[:, np.newaxis]
    table: NDArray[np.float32] = (scaled - mean) / std
    return table


def _normalized(pixels: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize pixel values (N, C, H, W) by looking up each in the row of its channel."""
    return np.stack([row[pixels[:, channel]] for channel, row in enumerate(table)], axis=1)


# ---- command line


def main() -> int:
    """Prepare the data set that the arguments name; write only lines of JSON on stdout.

    Returns:
        The exit code: 0 prepared, 2 wrong usage, 3 not possible on this machine.
    """
    facts = os.dup(1)
    os.dup2(2, 1)
    arguments = sys.argv[1:]
    if len(arguments) not in (2, 3):
        _state(
            facts,
            {"error": "usage: python -P -m batchscope.engine.data.prepare NAME HOME [DATA_DIR]"},
        )
        return 2
    name, home, *rest = arguments
    data_dir = Path(rest[0]) if rest else None
    try:
        prepared = prepare(name, Path(home), data_dir, _throttled(facts))
    except DataError as error:
        _state(facts, {"error": str(error)})
        return error.exit_code
    _state(facts, {"prepared": prepared})
    return 0


def _throttled(facts: int) -> Progress:
    """Return a function that writes progress at most once in `_REPORT_SECONDS`."""
    due = 0.0

    def report(received: int, total: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + _REPORT_SECONDS
            _state(facts, {"received": received, "total": total})

    return report


def _state(facts: int, fact: dict[str, object]) -> None:
    try:
        os.write(facts, msgspec.json.encode(fact) + b"\n")
    except BrokenPipeError:  # the parent process has ended
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(main())

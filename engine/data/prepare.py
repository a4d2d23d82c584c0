"""Fetches a data set once, under a lock, into arrays that every worker maps.

Below the home folder:

    data/raw/                    what was downloaded, as it was published
    data/<name>.lock             held while <name> is downloaded or prepared
    data/<name>-<key>/           the arrays, as `load_arrays` gives them, and prepared.json

A preparation is written beside its place and renamed into it, so that what stands there is
whole. `<key>` is "bundled", "download", or tells one state of one folder from any other.

Run as `python -P -m batchscope.engine.data.prepare NAME HOME [DATA_DIR]` it states its progress and
its result on stdout, as lines of JSON.
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


def _silent(received: int, total: int) -> None:
    """The progress nobody asked for."""


def prepare(
    name: str, home: Path, data_dir: Path | None = None, progress: Progress = _silent
) -> Prepared:
    """Make the data set ready below `home`, unless it is: read from `data_dir`, or downloaded.

    `progress(received, total)` is called in bytes while something is downloaded. The digits
    come with scikit-learn: for them `data_dir` means nothing.

    Raises:
        DataError: unknown name, missing or damaged files, no line, no room or rights on disk.
    """
    if name not in DATASETS:
        raise DataError(f"no data set {name!r}{nearest(name, DATASETS)}")
    dataset = DATASETS[name]
    source = None if name == "digits" or data_dir is None else Path(os.path.realpath(data_dir))
    data = home.absolute() / "data"
    folder = data / f"{name}-{_key(name, source)}"
    try:
        str(folder).encode()
        return _whole(dataset, folder) or _prepare_locked(dataset, data, folder, source, progress)
    except UnicodeEncodeError:
        raise DataError(f"{home}: the name of this folder is not valid UTF-8") from None
    except OSError as error:
        raise disk_error(error, data) from None


def load_arrays(prepared: Prepared) -> Arrays:
    """Train images (N, C, H, W) and labels (N,), test images and labels: normalized float32
    and int64, mapped from the disk and shared between processes until one writes to its copy.

    Raises:
        DataError: they are not there any more.
    """
    folder = Path(prepared.folder)
    try:
        first, second, third, fourth = (_mapped(folder / f"{name}.npy") for name in ARRAYS)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{folder}: prepared data cannot be read: {error}") from None
    return first, second, third, fourth


# ---- what is there already


def _key(name: str, source: Path | None) -> str:
    """Tells apart what a preparation was made of; a changed file changes it."""
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
    """What the folder holds, if all of it is there, in this format and of the right size."""
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
    # The home may have been moved since.
    return msgspec.structs.replace(prepared, folder=str(folder))


def _mapped(path: Path) -> "np.memmap[Any, Any]":
    array = np.load(path, mmap_mode="c")
    if not isinstance(array, np.memmap):
        raise ValueError(f"{path} is no array")
    return array


# ---- preparing


def _prepare_locked(
    dataset: Dataset, data: Path, folder: Path, source: Path | None, progress: Progress
) -> Prepared:
    data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    with _locked(data / f"{dataset.name}.lock"):
        # Somebody may have done it while we waited.
        if prepared := _whole(dataset, folder):
            return prepared
        # Under the lock, a preparation that is not finished is one that was killed.
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
    """Hold the lock, which the system frees when its holder ends, however it ends."""
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
    """scikit-learn's digits in the order that a fixed generator shuffles them into.

    `RandomState` is frozen by NumPy's policy (NEP 19), so the split is the same everywhere.
    """
    bundle = importlib.import_module("sklearn.datasets").load_digits()
    order = np.random.RandomState(0).permutation(len(bundle.target))
    images = bundle.images.astype(np.uint8)[order, np.newaxis]
    labels = bundle.target.astype(np.int64)[order]
    cut = dataset.train_size
    return RawDataset(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _write(dataset: Dataset, images: RawDataset, partial: Path, folder: Path) -> Prepared:
    """Write the arrays and their summary into `partial`, as they will be found in `folder`."""
    table = normalization_table(dataset)
    digest = hashlib.sha256()
    for name, array in images._asdict().items():
        # Written, not mapped: where the disk is full a write raises, a mapping kills.
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
    """What each pixel value becomes, (channels, pixel_max + 1).

    The operations, their order and their precision are those of torchvision's `ToTensor` and
    `Normalize`, so the bits are the same.
    """
    scaled = np.arange(dataset.pixel_max + 1, dtype=np.float32) / np.float32(dataset.pixel_max)
    mean = np.array(dataset.mean, dtype=np.float32)[:, np.newaxis]
    std = np.array(dataset.std, dtype=np.float32)[:, np.newaxis]
    table: NDArray[np.float32] = (scaled - mean) / std
    return table


def _normalized(pixels: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C, H, W) of pixel values, each looked up in its channel's row."""
    return np.stack([row[pixels[:, channel]] for channel, row in enumerate(table)], axis=1)


# ---- as a process of its own


def main() -> int:
    """Prepare as told on the command line; stdout carries lines of JSON and nothing else.

    Returns the exit code: 0 prepared, 2 wrong usage, 3 it cannot be done here.
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
    """States the progress at most once in `_REPORT_SECONDS`."""
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
    except BrokenPipeError:  # whoever asked is gone
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(main())

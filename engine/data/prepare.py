"""Prepares a data set once, under a lock, as arrays that every worker maps into memory.

Below the home folder:

    data/raw/                    the downloaded files, as published
    data/<name>.lock             locked while <name> is downloaded or prepared
    data/<name>-<key>/           the arrays, as `load_arrays` returns them, and prepared.json

The arrays are written into a temporary folder that is then renamed, so that a folder with its final
name is complete. It is checked all the same whenever a sweep begins, and prepared again if a byte
has changed. `<key>` is "bundled", "download", or a hash of the source folder and its files.

`python -P -m batchscope.engine.data.prepare NAME HOME [DATA_DIR]` writes its progress and its
result on stdout, as lines of JSON.
"""

import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data import mnist_files
from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.data.download import Progress, downloaded
from batchscope.engine.data.preparation_lock import locked
from batchscope.engine.data.prepare_messages import PrepareMessage, Reporter
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import IMAGES, SUMMARY, find, kind_of
from batchscope.engine.data.raw_files import DataError, RawDataset, disk_error, unreadable
from batchscope.engine.errors import nearest, printable
from batchscope.engine.system.files import remove, sync, sync_file

Tell = Callable[[str], None]

_IMAGES_AT_ONCE = 512


def _ignore(received: int, total: int) -> None:
    """Ignore progress."""


def _drop(text: str) -> None:
    """Ignore a text."""


def prepare(
    name: str,
    home: Path,
    data_dir: Path | None = None,
    progress: Progress = _ignore,
    note: Tell = _drop,
    doing: Tell = _drop,
) -> Prepared:
    """Prepare a data set below `home`, unless it is prepared already and no byte has changed.

    Args:
        name: name of the data set.
        home: the home folder.
        data_dir: folder with the published files; None downloads them. Not used for digits, which
            come with scikit-learn.
        progress: is called with received and total bytes during a download.
        note: is called with what people should know, such as that prepared images were damaged.
        doing: is called with what is done now.

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
        doing("checking the prepared images")
        found = find(dataset, folder)
        if isinstance(found, Prepared):
            return found
        preparing = _Preparing(dataset, data, folder, source)
        return preparing.run(progress, note, doing)
    except UnicodeEncodeError:
        raise DataError(f"{home}: the folder's name is not valid UTF-8; choose another") from None
    except OSError as error:
        raise disk_error(error, data) from None


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
            raise unreadable(path, error) from None
        made_of.append(os.fsencode(path))
        made_of.append(f"{status.st_size} {status.st_mtime_ns}".encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


class _Preparing(NamedTuple):
    """A data set to prepare in a folder below `data`, from a source or the network."""

    dataset: Dataset
    data: Path
    folder: Path
    source: Path | None

    def run(self, progress: Progress, note: Tell, doing: Tell) -> Prepared:
        """Prepare it while the lock is held, unless another process has done so meanwhile."""
        name = self.dataset.name

        def wait(holder: str) -> None:
            doing(f"waiting for {holder}, which holds {lock} while it prepares the images")

        lock = self.data / f"{name}.lock"
        self.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data.mkdir(exist_ok=True)
        with locked(lock, wait):
            doing("checking the prepared images")
            found = find(self.dataset, self.folder)
            if isinstance(found, Prepared):
                return found
            if os.path.lexists(self.folder):
                damaged = f"the prepared images in {self.folder} are damaged ({found})"
                note(printable(f"{damaged}; they are prepared again"))
            # the lock is held, so an unfinished folder was left by a killed process
            for leftover in self.data.glob(f".{name}-*.partial"):
                remove(leftover)
            doing("reading the images")
            images = self._images(progress, doing)
            doing("writing the prepared images")
            return self._replaced(images)

    def _images(self, progress: Progress, doing: Tell) -> RawDataset:
        if self.dataset.name == "digits":
            return _digits(self.dataset)
        if self.source is not None:
            return mnist_files.read_files(self.dataset.name, self.source)
        return downloaded(self.dataset, self.data / "raw", progress, doing)

    def _replaced(self, images: RawDataset) -> Prepared:
        """Write the images into a folder of their own, and put it in place of the old one."""
        beside = {"prefix": f".{self.folder.name}.", "suffix": ".partial"}
        partial = Path(tempfile.mkdtemp(**beside, dir=self.data))
        try:
            prepared = _write(self.dataset, images, partial, self.folder)
            remove(self.folder)
            partial.rename(self.folder)
        finally:
            remove(partial)
        sync(self.data)
        return prepared


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
            dtype = kind_of(name)
            header = {"descr": dtype, "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(array), _IMAGES_AT_ONCE):
                part = array[start : start + _IMAGES_AT_ONCE]
                final = _normalized(part, table) if dtype == IMAGES else part
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


def main() -> int:
    """Prepare the data set that the arguments name; write only lines of JSON on stdout.

    Returns:
        The exit code: 0 prepared, 2 wrong usage, 3 not possible on this machine.
    """
    reporter = Reporter(os.dup(1))
    os.dup2(2, 1)
    arguments = sys.argv[1:]
    if len(arguments) not in (2, 3):
        usage = "usage: python -P -m batchscope.engine.data.prepare NAME HOME [DATA_DIR]"
        reporter.write(PrepareMessage(error=usage))
        return 2
    name, home, *rest = arguments
    data_dir = Path(rest[0]) if rest else None
    tell = reporter.progress, reporter.note, reporter.doing
    try:
        prepared = prepare(name, Path(home), data_dir, *tell)
    except DataError as error:
        text = str(error)
        reporter.write(PrepareMessage(lost=text) if error.passing else PrepareMessage(error=text))
        return error.exit_code
    except Exception as error:
        reporter.lost(error)
        return 1
    reporter.write(PrepareMessage(prepared=prepared))
    return 0


if __name__ == "__main__":
    sys.exit(main())

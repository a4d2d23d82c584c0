"""Downloads the published files of a data set; their checksums are checked whenever they are read.

They are stored compressed, as published, under the names that torchvision uses. pooch writes a
temporary file and renames it once its checksum is right.
"""

import errno
import hashlib
import importlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from batchscope.engine.data import mnist_files
from batchscope.engine.data.catalog import Dataset
from batchscope.engine.data.cifar10_files import CIFAR10_ARCHIVE, CIFAR10_FOLDER
from batchscope.engine.data.raw_files import (
    PIECE,
    SCARCE,
    DataError,
    RawDataset,
    disk_error,
    reason,
)
from batchscope.engine.system.files import remove
from batchscope.engine.system.untrusted_files import open_regular

Progress = Callable[[int, int], None]

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OTHER_FILES = "the downloaded files differ from the published ones"


class Published(NamedTuple):
    """Where the files of a data set are published and stored.

    Attributes:
        mirrors: URLs, those without TLS last; the checksums verify the files of either.
        sums: MD5 checksum of each file.
        folder: folder in which the files are stored.
        unpacked: files that torchvision unpacked there for an earlier version of batchscope.
    """

    mirrors: tuple[str, ...]
    sums: dict[str, str]
    folder: str
    unpacked: tuple[str, ...]


PUBLISHED = {
    "mnist": Published(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        sums={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        folder="MNIST/raw",
        unpacked=mnist_files.MNIST_FILES,
    ),
    "fashion-mnist": Published(
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        sums={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        folder="FashionMNIST/raw",
        unpacked=mnist_files.MNIST_FILES,
    ),
    "cifar10": Published(
        mirrors=(
            "https://www.cs.toronto.edu/~kriz/",
            "http://www.cs.toronto.edu/~kriz/",
        ),
        sums={CIFAR10_ARCHIVE: "c58f30108f718f92721af3b95e74349a"},
        folder="",
        unpacked=(CIFAR10_FOLDER,),
    ),
}


def downloaded(
    dataset: Dataset, raw: Path, progress: Progress, doing: Callable[[str], None]
) -> RawDataset:
    """Return the images of an earlier download if no byte of it has changed, else download them.

    Args:
        dataset: the data set.
        raw: the folder of all downloads.
        progress: called with received and total bytes.
        doing: called with what is done now.

    Raises:
        DataError: the files cannot be downloaded, or are not the published ones.
    """
    published = PUBLISHED[dataset.name]
    missing = _forget_others(published, raw)
    if missing:
        doing(f"downloading {dataset.title}")
        _download(dataset, raw, progress)
        doing("reading the images")
    images = mnist_files.read_files(dataset.name, raw)
    sizes = (len(images.train_labels), len(images.test_labels))
    if sizes != (dataset.train_size, dataset.test_size):
        raise _download_error(dataset, OTHER_FILES)
    return images


def _forget_others(published: Published, raw: Path) -> list[str]:
    """Remove all but complete published files; return the names of those that are missing.

    Those are unpacked files, which have no published checksum and would be read before the
    compressed ones, pooch's temporary files, and what changed since it was downloaded.
    """
    folder = raw / published.folder
    for path in [*(folder / name for name in published.unpacked), *folder.glob("tmp????????")]:
        remove(path)
    missing = [name for name, md5 in published.sums.items() if _md5(folder / name) != md5]
    for name in missing:
        remove(folder / name)
    return missing


def _md5(path: Path) -> str:
    """Return the MD5 checksum of a file; empty if it cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with open_regular(path, None) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return ""
    return digest.hexdigest()


def _download(dataset: Dataset, raw: Path, progress: Progress) -> None:
    """Download and check the files of a data set that are not in `raw` yet."""
    published = PUBLISHED[dataset.name]
    meter = _Meter(dataset.download_bytes, progress)
    try:
        for name in published.sums:
            _fetch(name, published, raw / published.folder, meter)
    except (OSError, ValueError, ImportError) as error:
        cause = _first_cause(error)
        if _is_of_the_disk(cause):
            raise disk_error(cause, raw) from None
        raise _download_error(dataset, _few_words(cause)) from None
    progress(dataset.download_bytes, dataset.download_bytes)


def _fetch(name: str, published: Published, folder: Path, meter: "_Meter") -> None:
    """Download a file from the first mirror that has it; raise the last mirror's error."""
    pooch: Any = importlib.import_module("pooch")
    pooch.get_logger().setLevel("WARNING")
    trusted = ssl.get_default_verify_paths()
    downloader = pooch.HTTPDownloader(
        progressbar=meter,
        chunk_size=CHUNK_BYTES,
        timeout=TIMEOUT_SECONDS,
        headers={"Accept-Encoding": "identity"},  # the checksums are those of compressed files
        # the system's certificates, which a site may extend
        verify=trusted.cafile or trusted.capath or True,
    )
    *others, last = published.mirrors
    known_hash = f"md5:{published.sums[name]}"
    for mirror in others:
        try:
            pooch.retrieve(mirror + name, known_hash, name, folder, downloader=downloader)
            return
        except (OSError, ValueError) as error:
            if _is_of_the_disk(_first_cause(error)):
                raise
    pooch.retrieve(last + name, known_hash, name, folder, downloader=downloader)


def _first_cause(error: BaseException) -> BaseException:
    """Return the system's own error, which each library above it wraps in another."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _is_of_the_disk(error: BaseException) -> TypeGuard[OSError]:
    """Return whether an error is the disk's: it names a file or says that the disk is full."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in NO_ROOM)


def _download_error(dataset: Dataset, why: str) -> DataError:
    return DataError(
        f"{dataset.title} could not be downloaded: {why};"
        " if you have its files, name their folder with --data-dir DIR"
    )


def _few_words(error: BaseException) -> str:
    if type(error) is ValueError:  # which pooch raises for a wrong checksum
        return OTHER_FILES
    return reason(error).strip().splitlines()[-1].rstrip(".")


class _Meter:
    """Receives pooch's progress; one for all files, so that the sum only grows.

    pooch sets `total` to the size of a file or 0, calls `update` with the size of a full chunk for
    each chunk (also the last), and at the end `reset`, `update(total)` and `close`.
    """

    def __init__(self, expected: int, progress: Progress) -> None:
        self._expected = expected
        self._progress = progress
        self._closed = 0
        self._received = 0
        self._total = 0

    @property
    def total(self) -> int:
        """Return the size of the present file in bytes."""
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self.reset()  # after a broken connection the file is downloaded again

    def reset(self) -> None:
        """Start the present file again."""
        self._received = 0

    def update(self, received: int) -> None:
        """Add received bytes and report the sum."""
        self._received = min(self._received + received, self._total or self._expected)
        self._progress(min(self._closed + self._received, self._expected), self._expected)

    def close(self) -> None:
        """Finish the present file."""
        self._closed += self._received

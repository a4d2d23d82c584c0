"""Downloads a data set through torchvision, and believes only what can be read afterwards."""

import contextlib
import errno
import http.client
import re
import socket
import sys
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from batchscope.engine.data import mnist_files
from batchscope.engine.data.catalog import Dataset
from batchscope.engine.data.raw_files import DataError, Images, disk_error
from batchscope.engine.data.torchvision_compat import import_torchvision
from batchscope.engine.system.files import remove

Progress = Callable[[int, int], None]

TIMEOUT_SECONDS = 30.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def downloaded(dataset: Dataset, raw: Path, progress: Progress) -> Images:
    """The files of an earlier download if they are whole, else those of a new one."""
    if (images := _published(dataset, raw)) is not None:
        return images
    _forget_extracted(dataset, raw)
    _download(dataset, raw, progress)
    if (images := _published(dataset, raw)) is None:
        raise _download_error(dataset, "the files that came are not the published ones")
    return images


def _published(dataset: Dataset, raw: Path) -> Images | None:
    """What is in `raw`, if it can be read and has the published number of images."""
    try:
        images = mnist_files.read_files(dataset.name, raw)
    except DataError:
        return None
    sizes = (len(images.train_labels), len(images.test_labels))
    return images if sizes == (dataset.train_size, dataset.test_size) else None


def _forget_extracted(dataset: Dataset, raw: Path) -> None:
    """torchvision believes in any extracted file of MNIST, also one that was cut short by a
    kill; the compressed files and those of CIFAR-10 it checks by their sums."""
    if dataset.name in mnist_files.MNIST_FOLDERS:
        for name in mnist_files.MNIST_FILES:
            remove(raw / mnist_files.MNIST_FOLDERS[dataset.name] / "raw" / name)


def _download(dataset: Dataset, raw: Path, progress: Progress) -> None:
    """Let torchvision fetch, check and extract the files of a data set into `raw`."""
    raw.mkdir(exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        # Whatever is printed on the way must not get between the facts on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            torchvision = import_torchvision()
            kinds = {"cifar10": "CIFAR10"} | mnist_files.MNIST_FOLDERS
            with _reporting(torchvision.datasets.utils, dataset.download_bytes, progress):
                getattr(torchvision.datasets, kinds[dataset.name])(root=str(raw), download=True)
    except (OSError, RuntimeError, ImportError, EOFError, http.client.HTTPException) as error:
        _raise_download_error(dataset, raw, error)
    finally:
        socket.setdefaulttimeout(before)
    progress(dataset.download_bytes, dataset.download_bytes)


def _raise_download_error(dataset: Dataset, raw: Path, error: Exception) -> NoReturn:
    # The disk's errors name a file or say that it is full; those of a URL have names as well.
    if (
        isinstance(error, OSError)
        and not isinstance(error, urllib.error.URLError)
        and (error.filename is not None or error.errno in NO_ROOM)
    ):
        raise disk_error(error, raw) from None
    raise _download_error(dataset, _few_words(error)) from None


def _download_error(dataset: Dataset, why: str) -> DataError:
    return DataError(
        f"{dataset.title} could not be downloaded: {why};"
        " --data-dir DIR reads files that you already have"
    )


def _few_words(error: Exception) -> str:
    """The last line of an error (torchvision lists every mirror), without its wrapping."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    inner = re.sub(r"^<urlopen error (.*)>$", r"\1", lines[-1].strip())
    return re.sub(r"^\[Errno -?\d+\] ", "", inner).rstrip(".")


@contextlib.contextmanager
def _reporting(utils: Any, total: int, progress: Progress) -> Iterator[None]:
    """Put our reporting in the place of torchvision's progress bar, where it has one."""
    if not hasattr(utils, "tqdm"):
        yield
        return
    original = utils.tqdm
    utils.tqdm = _Meter(total, progress)
    try:
        yield
    finally:
        utils.tqdm = original


class _Meter:
    """Stands in for `tqdm`: one for all files of a data set, so that the sum only grows.

    torchvision calls it once a file, uses the result as a context and feeds it `update`.
    """

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._received = 0
        self._before = 0

    def __call__(self, *_: object, **__: object) -> "_Meter":
        self._before = self._received
        return self

    def __enter__(self) -> "_Meter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:  # what a broken line brought is fetched again
            self._received = self._before

    def update(self, received: int) -> None:
        self._received += received
        self._progress(min(self._received, self._total), self._total)

"""Stores the final weights of a trial with its sweep (`run.keep_weights`), and copies them out.

A file is in the format safetensors, which has no checksum of its own: the SHA-256 of the whole file
is in the event `WeightsKept`. `engine.training.trainer.kept_weights` makes the content.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import IO

from batchscope.engine.checkpoints.file import make_folders, weights_of
from batchscope.engine.system.files import create, remove, sync, sync_file
from batchscope.engine.system.untrusted_files import open_regular

SUFFIX = ".safetensors"
NAME = f"final{SUFFIX}"
CHUNK = 1 << 20


class Changed(Exception):
    """The file is not the one that was stored; the message says why."""


def file_of(sweep: Path, trial: str) -> Path:
    """Return the file of a trial's final weights in the folder of its sweep."""
    return weights_of(sweep, trial) / NAME


def write(folder: Path, content: bytes) -> str:
    """Write the weights of a trial atomically, and return their SHA-256 (hex).

    Args:
        folder: folder of the trial's weights.
        content: the whole file.

    Raises:
        OSError: it cannot be written; an earlier file is unchanged.
    """
    make_folders(folder)
    for left in folder.glob(f"*{SUFFIX}.tmp"):  # of a worker that was killed
        remove(left)
    fresh = folder / f"{NAME}.tmp"
    try:
        with create(fresh) as file:
            file.write(content)
            sync_file(file)
        if (folder / NAME).is_dir():  # a file cannot take its place
            remove(folder / NAME)
        fresh.replace(folder / NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync(folder)
    return hashlib.sha256(content).hexdigest()


def copy(source: Path, target: Path, digest: str, size: int | None = None) -> int:
    """Copy a file of weights piece by piece, and return its size in bytes.

    Args:
        source: the stored file.
        target: the copy.
        digest: the SHA-256 of the file (hex).
        size: its size in bytes, if that is known: another file is not read then.

    Raises:
        Changed: it is missing, cannot be read, or has another size or SHA-256; there is no `target`
            then.
        OSError: `target` cannot be written.
    """
    found, copied = hashlib.sha256(), 0
    try:
        file = open_regular(source, None, follow=False)
    except OSError as error:
        raise Changed(error.strerror or str(error)) from None
    with file:
        held = os.fstat(file.fileno()).st_size
        if size is not None and held != size:
            raise Changed(f"it has {held:,} of {size:,} bytes")
        with open(target, "wb") as copy_of_it:
            while chunk := _read(file, target):
                found.update(chunk)
                copied += copy_of_it.write(chunk)
    if found.hexdigest() != digest:
        target.unlink()
        raise Changed("its content has changed (wrong checksum)")
    return copied


def _read(file: IO[bytes], target: Path) -> bytes:
    try:
        return file.read(CHUNK)
    except OSError as error:
        target.unlink()
        raise Changed(error.strerror or str(error)) from None

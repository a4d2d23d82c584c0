"""Reads the files of a prepared data set, and finds a changed byte in any of them.

The digest of a prepared data set is the SHA-256 of the contents of its arrays. All else that its
files state (headers, and the other fields of the summary) follows from the data set and from the
sizes of the arrays, so it is compared and not believed.
"""

import hashlib
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.data.prepared import FORMAT, Prepared
from batchscope.engine.data.raw_files import PIECE, SCARCE, DataError, RawDataset, reason
from batchscope.engine.system.untrusted_files import decode_json, open_regular, read_bytes

Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]

SUMMARY = "prepared.json"
ARRAYS = RawDataset._fields
IMAGES, LABELS = "<f4", "<i8"

_CHANGED = "the content has changed (wrong checksum)"


def kind_of(array: str) -> str:
    """Return the numpy type of the array with this name, as its file states it."""
    return IMAGES if array.endswith("images") else LABELS


def load_arrays(prepared: Prepared) -> Arrays:
    """Check the arrays of a prepared data set, and map them, shared between processes.

    The files are read once for their checksum. What is written into them later is not noticed.

    Returns:
        Training images (N, C, H, W) as normalized float32, training labels (N,) as int64, test
        images and test labels. Writing to an array changes only this process's copy.

    Raises:
        DataError: the files are missing or damaged.
    """
    try:
        return _mapped(prepared)
    except (OSError, ValueError) as error:
        passing = isinstance(error, OSError) and error.errno in SCARCE
        raise DataError(
            f"{prepared.folder}: prepared data cannot be read: {reason(error)}; "
            "resume the sweep to prepare them again",
            passing,
        ) from None


def find(dataset: Dataset, folder: Path) -> Prepared | str:
    """Return the data set that is prepared in a folder, or why its files cannot be used.

    Raises:
        OSError: this process lacks memory or descriptors, which says nothing of the files.
    """
    try:
        summary = decode_json(read_bytes(folder / SUMMARY), Prepared)
        found = (summary.name, summary.shape, summary.classes, summary.format)
        if found != (dataset.name, dataset.shape, dataset.classes, FORMAT):
            return f"{SUMMARY} is damaged, or of another version"
        # the home may have been moved
        prepared = msgspec.structs.replace(summary, folder=str(folder))
        _mapped(prepared)
    except OSError as error:
        if error.errno in SCARCE:
            raise
        name = Path(error.filename).name if isinstance(error.filename, str) else folder.name
        return f"{name}: {reason(error)}"
    except msgspec.MsgspecError:
        return f"{SUMMARY} is damaged"
    except ValueError as error:
        return reason(error)
    return prepared


def holds(folder: Path, digest: str) -> bool:
    """Return whether a folder holds the arrays with this digest, complete and unchanged."""
    try:
        summary = decode_json(read_bytes(folder / SUMMARY), Prepared)
        _mapped(msgspec.structs.replace(summary, folder=str(folder), digest=digest))
    except (OSError, ValueError, msgspec.MsgspecError):
        return False
    return True


def _mapped(prepared: Prepared) -> Arrays:
    digest, arrays = hashlib.sha256(), list[Any]()
    for name in ARRAYS:
        count = prepared.train if name.startswith("train") else prepared.test
        kind = kind_of(name)
        shape = (count, *prepared.shape) if kind == IMAGES else (count,)
        with open_regular(Path(prepared.folder) / f"{name}.npy", None) as file:
            if not _has_header(file, shape, kind):
                raise ValueError(f"{name}.npy has another size or a damaged header")
            offset = file.tell()
            while piece := file.read(PIECE):
                digest.update(piece)
            arrays.append(np.memmap(file, kind, "c", offset, shape))
    if digest.hexdigest() != prepared.digest:
        raise ValueError(_CHANGED)
    first, second, third, fourth = arrays
    return first, second, third, fourth


def _has_header(file: BinaryIO, shape: tuple[int, ...], kind: str) -> bool:
    """Read the header of an array; return whether it and the size of the file are as expected."""
    try:
        version = np.lib.format.read_magic(file)
        found = np.lib.format.read_array_header_1_0(file)
    except OSError:
        raise
    except Exception:  # it is an expression in Python, and damage raises nearly anything
        return False
    size = file.tell() + math.prod(shape) * np.dtype(kind).itemsize
    expected = (shape, False, np.dtype(kind))
    return version == (1, 0) and found == expected and os.fstat(file.fileno()).st_size == size

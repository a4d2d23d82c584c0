"""Small files in each published format, written here byte for byte."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.engine.data.cifar10_files import CIFAR10_FILES
from batchscope.engine.data.mnist_files import MNIST_FILES

Bytes = NDArray[np.uint8]


def idx(array: Bytes, kind: int = 8) -> bytes:
    """The IDX format, from its specification: two zeros, type, dimensions, sizes, data."""
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


def some_bytes(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def some_labels(count: int) -> Bytes:
    return (np.arange(count) * 7 % 10).astype(np.uint8)


def write_mnist(folder: Path, train: int = 20, test: int = 10, compressed: bool = False) -> None:
    """The four files, with random pixels."""
    folder.mkdir(parents=True)
    arrays = (
        some_bytes(train, 28, 28, seed=1),
        some_labels(train),
        some_bytes(test, 28, 28, seed=2),
        some_labels(test),
    )
    for name, array in zip(MNIST_FILES, arrays, strict=True):
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


def batch(count: int, seed: int, protocol: int = 2, **changes: Any) -> bytes:
    """A batch of CIFAR-10 as Python 3 writes it."""
    fields = {
        "batch_label": "a batch",
        "data": some_bytes(count, 3072, seed=seed),
        "labels": some_labels(count).tolist(),
        "filenames": [f"{number}.png" for number in range(count)],
    }
    return pickle.dumps({**fields, **changes}, protocol=protocol)


def python2_batch(pixels: Bytes, labels: list[int]) -> bytes:
    """A batch opcode for opcode as the published ones are: texts of Python 2, protocol 2."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    count, width = pixels.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"(cnumpy\nndarray\n(K\0t"
        + text(b"b")
        + b"tR(K\x01("
        + number(count)
        + number(width)
        + b"tcnumpy\ndtype\n("
        + text(b"u1")
        + b"K\0K\x01tR(K\x03"
        + text(b"|")
        + b"NNN"
        + number(-1)
        + number(-1)
        + b"K\0tb\x89T"
        + struct.pack("<i", pixels.size)
        + pixels.tobytes()
        + b"tb"
    )
    answers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"labels") + answers + text(b"data") + array + b"u."


def write_cifar10(folder: Path, count: int = 4, protocol: int = 2) -> None:
    folder.mkdir(parents=True)
    for seed, name in enumerate(CIFAR10_FILES):
        (folder / name).write_bytes(batch(count, seed, protocol))


def archive(batches: dict[str, bytes]) -> bytes:
    """The archive, with the folder's own entry and the file of names, as published."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        top = tarfile.TarInfo("cifar-10-batches-py")
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, content in {"batches.meta": b"names", **batches}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def small_archive() -> bytes:
    return archive({name: batch(2, seed) for seed, name in enumerate(CIFAR10_FILES)})

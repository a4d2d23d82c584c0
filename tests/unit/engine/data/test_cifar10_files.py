"""CIFAR-10 as batches and as an archive, from Python 2 and 3, and malicious pickles."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchscope.engine.data.cifar10_files import CIFAR10_FILES, read_cifar10
from batchscope.engine.data.raw_files import DataError
from tests.unit.engine.data.raw_file_fixtures import (
    archive,
    batch,
    python2_batch,
    small_archive,
    some_bytes,
    write_cifar10,
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("place", ["cifar-10-batches-py", "."])
def test_cifar10_batches(tmp_path: Path, place: str, protocol: int) -> None:
    write_cifar10(tmp_path / "root" / place, protocol=protocol)
    images = read_cifar10(tmp_path / "root")
    assert images.train_images.shape == (20, 3, 32, 32)
    assert images.test_images.shape == (4, 3, 32, 32)
    for seed in range(5):
        rows = images.train_images[4 * seed : 4 * seed + 4].reshape(4, 3072)
        np.testing.assert_array_equal(rows, some_bytes(4, 3072, seed=seed))
    np.testing.assert_array_equal(images.test_images.ravel(), some_bytes(4, 3072, seed=5).ravel())
    assert images.train_labels.tolist() == [0, 7, 4, 1] * 5
    assert images.train_labels.dtype == np.int64


def test_cifar10_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Python's own unpickler, which trusts the file, says what is in it."""
    pixels, labels = some_bytes(3, 3072), [1, 9, 0]
    content = python2_batch(pixels, labels)
    trusted = pickle.loads(content, encoding="latin1")
    np.testing.assert_array_equal(trusted["data"], pixels)
    for name in CIFAR10_FILES:
        (tmp_path / name).write_bytes(content)
    images = read_cifar10(tmp_path)
    np.testing.assert_array_equal(images.test_images.reshape(3, 3072), pixels)
    assert images.train_labels.tolist() == labels * 5


@pytest.mark.parametrize("protocol", [2, 5])
def test_cifar10_with_arrays_of_another_order(tmp_path: Path, protocol: int) -> None:
    """Labels as an array of big-endian numbers, pixels column by column."""
    pixels = np.asfortranarray(some_bytes(4, 3072))
    labels = np.array([3, 1, 4, 1], dtype=">i4")
    write_cifar10(tmp_path / "root")
    content = batch(4, 0, protocol, data=pixels, labels=labels)
    (tmp_path / "root" / "test_batch").write_bytes(content)
    images = read_cifar10(tmp_path / "root")
    np.testing.assert_array_equal(images.test_images.reshape(4, 3072), pixels)
    assert images.test_labels.tolist() == [3, 1, 4, 1]


def test_cifar10_archive(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_archive())
    images = read_cifar10(tmp_path)
    for seed in range(5):
        rows = images.train_images[2 * seed : 2 * seed + 2].reshape(2, 3072)
        np.testing.assert_array_equal(rows, some_bytes(2, 3072, seed=seed))
    assert images.test_labels.tolist() == [0, 7]


def test_cifar10_falls_back_to_the_archive_and_names_missing_files(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3: missing"):
        read_cifar10(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_archive())
    assert len(read_cifar10(tmp_path).train_labels) == 10
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive({"data_batch_1": batch(1, 0)}))
    with pytest.raises(DataError, match="cifar-10-batches-py/data_batch_2"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "damaged"),
        (b"<html>", "damaged"),
        (pickle.dumps([1, 2]), "damaged"),
        (pickle.dumps({"data": 1, "labels": []}), "damaged"),
        (pickle.dumps({"labels": []}), "damaged"),
        (batch(4, 0, data=some_bytes(4, 1024)), "expected rows of 3,072 bytes, got 4×1024"),
        (batch(4, 0, data=some_bytes(4, 3, 32, 32)), "expected rows of 3,072 bytes"),
        (batch(4, 0, data=np.zeros((4, 3072), np.int64)), "got 4×3072 of int64"),
        (batch(4, 0, data=np.zeros((4, 3072))), "damaged"),
        (batch(4, 0, data=np.array([[None] * 3072])), "damaged"),
        (batch(4, 0, labels=[0, 1, 2]), "3 labels for 4 images"),
        (batch(4, 0, labels=[0, 1, 2, -1]), "label 3 is -1, expected 0 to 9"),
        (batch(4, 0, labels=[0, 1, 2, 10]), "label 3 is 10"),
        (batch(4, 0, labels=[0, 1, 2.0, 3]), "label 2 is float"),
        (batch(4, 0, labels=[0, 10**5000, 2, 3]), "label 1 is int"),
        (batch(4, 0, labels=7), "damaged"),
    ],
)
def test_wrong_cifar10_files_are_rejected_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    write_cifar10(tmp_path / "root")
    (tmp_path / "root" / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_cifar10(tmp_path / "root")
    assert expected in str(caught.value)
    assert "data_batch_2" in str(caught.value)


def test_cifar10_without_images(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "root", count=0)
    with pytest.raises(DataError):
        read_cifar10(tmp_path / "root")


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("function", [os.mkdir, eval, exec])
def test_a_pickle_runs_no_code(
    tmp_path: Path, function: Callable[..., object], archived: bool, protocol: int
) -> None:
    marker = tmp_path / "it ran"
    command = str(marker) if function is os.mkdir else f"__import__('os').mkdir({str(marker)!r})"
    harmful = pickle.dumps({"data": Calls(function, command), "labels": []}, protocol=protocol)
    pickle.loads(harmful)  # the payload is a live one
    marker.rmdir()
    batches = dict.fromkeys(CIFAR10_FILES, harmful)
    if archived:
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive(batches))
    else:
        for name, content in batches.items():
            (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"not loaded.*{function.__name__}"):
        read_cifar10(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "attack",
    [
        # numpy functions that load or call, and a path through attributes of an admitted name.
        b"\x80\x02cnumpy\nload\n(U\x01xtR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n(tR.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02ccodecs\nencode\n.",
    ],
)
def test_a_pickle_can_name_nothing_else(tmp_path: Path, attack: bytes) -> None:
    for name in CIFAR10_FILES:
        (tmp_path / name).write_bytes(attack)
    with pytest.raises(DataError, match="not loaded"):
        read_cifar10(tmp_path)

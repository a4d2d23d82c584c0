"""The readers of IDX files, with small files made here and with real MNIST."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from batchscope.engine.data.mnist_files import (
    MNIST_FILES,
    read_files,
    read_idx,
    read_mnist,
    source_files,
)
from batchscope.engine.data.raw_files import DataError
from tests.unit.engine.data.raw_file_fixtures import (
    Bytes,
    idx,
    some_bytes,
    some_labels,
    write_mnist,
)

SHARED = Path(__file__).parents[4] / ".." / "shared" / "data"


# ---- IDX


@pytest.mark.parametrize("name", ["images", "images.gz", "compressed, though no name says so"])
@pytest.mark.parametrize("shape", [(1,), (300,), (1, 28, 28), (5, 3, 7)])
def test_idx_is_read_plain_and_compressed(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    array = some_bytes(*shape)
    content = idx(array) if name == "images" else gzip.compress(idx(array))
    (tmp_path / name).write_bytes(content)
    result = read_idx(tmp_path / name)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"\0\0\x08", "not an IDX file"),
        (b"<html>404</html>", "not an IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "header is incomplete"),
        (idx(some_bytes(4), kind=0x0D), "got type 0x0D"),
        (idx(some_bytes(2, 2, 2, 2)), "dimension"),
        (idx(some_bytes(0, 28, 28)), "0×28×28"),
        (
            idx(some_bytes(3, 28, 28))[:-1],
            "truncated: expected 2,352 bytes of data, got 2,351",
        ),
        (idx(some_bytes(3)) + b"!", "longer than its header says"),
        # A promise of 2^96 bytes must cost neither memory nor time.
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "at most 470,400,000 bytes of data are read"),
        (b"\0\0\x08\x01\x1b\0\0\0x", "truncated: expected 452,984,832 bytes of data, got 1"),
        (gzip.compress(b"", mtime=0), "empty"),
        (gzip.compress(idx(some_bytes(9)), mtime=0)[:-4], "cannot be read"),
        (b"\x1f\x8bgarbage", "cannot be read"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,  # compressed bytes hold a time
)
def test_wrong_idx_files_are_rejected_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_idx_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="is a folder"):
        read_idx(tmp_path)


# ---- MNIST


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST", "raw", "."])
def test_mnist_is_found_in_each_layout(tmp_path: Path, place: str, compressed: bool) -> None:
    write_mnist(tmp_path / "root" / place, compressed=compressed)
    images = read_mnist(tmp_path / "root")
    assert images.train_images.shape == (20, 1, 28, 28)
    assert images.train_images.dtype == np.uint8
    np.testing.assert_array_equal(images.train_images[:, 0], some_bytes(20, 28, 28, seed=1))
    np.testing.assert_array_equal(images.test_images[:, 0], some_bytes(10, 28, 28, seed=2))
    assert images.train_labels.dtype == np.int64
    assert images.test_labels.tolist() == [0, 7, 4, 1, 8, 5, 2, 9, 6, 3]


def test_mnist_and_fashion_mnist_are_not_confused(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", train=3)
    with pytest.raises(DataError, match="expected FashionMNIST/raw/train"):
        read_files("fashion-mnist", tmp_path)
    for inside in ("MNIST", "MNIST/raw"):
        assert len(read_files("mnist", tmp_path / inside).train_labels) == 3
        with pytest.raises(DataError, match="no FashionMNIST here"):
            read_files("fashion-mnist", tmp_path / inside)
    write_mnist(tmp_path / "FashionMNIST" / "raw", train=4)
    assert len(read_files("fashion-mnist", tmp_path).train_labels) == 4
    assert len(read_files("mnist", tmp_path).train_labels) == 3


@pytest.mark.parametrize("name", MNIST_FILES)
def test_mnist_names_the_missing_file(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / name).unlink()
    with pytest.raises(DataError, match=f"{name}: missing"):
        read_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        (MNIST_FILES[0], some_bytes(20, 32, 32), "20×32×32"),
        (MNIST_FILES[0], some_labels(20), "expected images of 28×28"),
        (MNIST_FILES[1], some_labels(19), "19 labels for 20 images"),
        (MNIST_FILES[1], some_bytes(20, 1, 1), "list of labels"),
        (MNIST_FILES[3], np.full(10, 10, np.uint8), "label 0 is 10, expected 0 to 9"),
    ],
)
def test_mnist_checks_what_it_reads(tmp_path: Path, name: str, array: Bytes, expected: str) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / name).write_bytes(idx(array))
    with pytest.raises(DataError, match=expected) as caught:
        read_mnist(tmp_path)
    assert name.split("-")[0] in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_a_root_that_is_a_file_or_empty(tmp_path: Path, name: str) -> None:
    for read in (read_files, source_files):
        with pytest.raises(DataError, match="nowhere: cannot be read: No such file or directory"):
            read(name, tmp_path / "nowhere")
        with pytest.raises(DataError, match="here; expected"):
            read(name, tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="file: not a folder"):
            read(name, tmp_path / "file")
        (tmp_path / "file").unlink()


def test_control_characters_in_a_file_name_are_not_printed(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_mnist(tmp_path / "\x1b[2Jhidden")
    assert "\x1b" not in str(caught.value)
    assert "hidden" in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real MNIST in ../shared/data")
def test_real_mnist() -> None:
    """Counts from the folder's README; the labels of the test set begin 7 2 1 0 4, and its
    class counts are those that are published."""
    images = read_mnist(SHARED)
    assert images.train_images.shape == (10_000, 1, 28, 28)
    assert images.test_images.shape == (10_000, 1, 28, 28)
    assert images.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = np.bincount(images.test_labels)
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(images.train_labels).sum() == 10_000

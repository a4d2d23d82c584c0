"""The readers on files of each published format, small ones made here, and on real MNIST."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cifar import CIFAR10_FILES, read_cifar10
from engine.datafiles import DataError
from engine.readers import MNIST_FILES, read_files, read_idx, read_mnist, source_files

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"

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
        (b"", "is empty"),
        (b"\0\0\x08", "no IDX file"),
        (b"<html>404</html>", "no IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "header is incomplete"),
        (idx(some_bytes(4), kind=0x0D), "holds IDX type 0x0D, expected unsigned bytes (0x08)"),
        (idx(some_bytes(2, 2, 2, 2)), "has 4 dimensions"),
        (idx(some_bytes(0, 28, 28)), "holds no data: its header says 0×28×28"),
        (
            idx(some_bytes(3, 28, 28))[:-1],
            "truncated: expected 2,352 bytes of data, it holds 2,351",
        ),
        (idx(some_bytes(3)) + b"!", "longer than its header says"),
        # A promise of 2^96 bytes must cost neither memory nor time.
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "truncated"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(idx(some_bytes(9)), mtime=0)[:-4], "cannot be read"),
        (b"\x1f\x8bgarbage", "cannot be read"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,  # compressed bytes hold a time
)
def test_idx_says_what_is_wrong(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_idx_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="Is a directory"):
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


def test_mnist_and_fashion_mnist_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", train=3)
    with pytest.raises(DataError, match="holds no FashionMNIST: expected FashionMNIST/raw/train"):
        read_files("fashion-mnist", tmp_path)
    for inside in ("MNIST", "MNIST/raw"):
        assert len(read_files("mnist", tmp_path / inside).train_labels) == 3
        with pytest.raises(DataError, match="holds no FashionMNIST"):
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
        (MNIST_FILES[0], some_bytes(20, 32, 32), "expected images of 28×28, its header says 20×32"),
        (MNIST_FILES[0], some_labels(20), "expected images of 28×28"),
        (MNIST_FILES[1], some_labels(19), "19 labels for 20 images"),
        (MNIST_FILES[1], some_bytes(20, 1, 1), "expected one row of labels"),
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
def test_a_root_that_is_no_folder_or_holds_nothing(tmp_path: Path, name: str) -> None:
    for read in (read_files, source_files):
        with pytest.raises(DataError, match="nowhere: cannot be read: No such file or directory"):
            read(name, tmp_path / "nowhere")
        with pytest.raises(DataError, match="holds no"):
            read(name, tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="file: is no folder"):
            read(name, tmp_path / "file")
        (tmp_path / "file").unlink()


def test_a_file_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
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


# ---- CIFAR-10


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


def test_cifar10_falls_back_on_the_archive_and_names_what_lacks(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3: missing"):
        read_cifar10(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_archive())
    assert len(read_cifar10(tmp_path).train_labels) == 10
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive({"data_batch_1": batch(1, 0)}))
    with pytest.raises(DataError, match="lacks cifar-10-batches-py/data_batch_2"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is damaged"),
        (b"<html>", "is damaged"),
        (pickle.dumps([1, 2]), "is damaged"),
        (pickle.dumps({"data": 1, "labels": []}), "is damaged"),
        (pickle.dumps({"labels": []}), "is damaged"),
        (batch(4, 0, data=some_bytes(4, 1024)), "expected rows of 3,072 bytes, got 4×1024"),
        (batch(4, 0, data=some_bytes(4, 3, 32, 32)), "expected rows of 3,072 bytes"),
        (batch(4, 0, data=np.zeros((4, 3072), np.int64)), "got 4×3072 of int64"),
        (batch(4, 0, data=np.zeros((4, 3072))), "is damaged"),
        (batch(4, 0, data=np.array([[None] * 3072])), "is damaged"),
        (batch(4, 0, labels=[0, 1, 2]), "3 labels for 4 images"),
        (batch(4, 0, labels=[0, 1, 2, -1]), "label 3 is -1, expected 0 to 9"),
        (batch(4, 0, labels=[0, 1, 2, 10]), "label 3 is 10"),
        (batch(4, 0, labels=[0, 1, 2.0, 3]), "label 2 is float"),
        (batch(4, 0, labels=[0, 10**5000, 2, 3]), "label 1 is int"),
        (batch(4, 0, labels=7), "is damaged"),
    ],
)
def test_cifar10_says_what_is_wrong(tmp_path: Path, content: bytes, expected: str) -> None:
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
    with pytest.raises(DataError, match=f"refused: it asks for .*{function.__name__}"):
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
def test_a_pickle_reaches_no_other_name(tmp_path: Path, attack: bytes) -> None:
    for name in CIFAR10_FILES:
        (tmp_path / name).write_bytes(attack)
    with pytest.raises(DataError, match="refused: it asks for"):
        read_cifar10(tmp_path)


# ---- damage at any place


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


PLAIN = idx(some_bytes(6, 9, 9))
COMPRESSED = gzip.compress(PLAIN, mtime=0)
BATCH = batch(2, 5)
ARCHIVE = small_archive()
SAMPLES = [PLAIN, COMPRESSED, BATCH, ARCHIVE]
NAMES = ["plain", "gz", "batch", "archive"]


def read_sample(folder: Path, kind: str, content: bytes) -> Bytes:
    """The pixels of a file of this kind; the folder holds what else such a file needs."""
    place = folder / kind
    if kind == "batch":
        if not place.is_dir():
            write_cifar10(place, count=2)
        (place / "test_batch").write_bytes(content)
        return read_cifar10(place).test_images
    if kind == "archive":
        place.mkdir(exist_ok=True)
        (place / "cifar-10-python.tar.gz").write_bytes(content)
        return read_cifar10(place).test_images
    place.write_bytes(content)
    return read_idx(place)


@pytest.mark.parametrize(("kind", "content"), zip(NAMES, SAMPLES, strict=True), ids=NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_file_that_is_cut_short_is_refused(
    scratch: Path, kind: str, content: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match=str(scratch)):
        read_sample(scratch, kind, content[:length])


@pytest.mark.parametrize(("kind", "content"), zip(NAMES, SAMPLES, strict=True), ids=NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_changed_byte_is_refused_or_harmless(
    scratch: Path, kind: str, content: bytes, data: st.DataObject
) -> None:
    """What gzip covers by its sum is never read wrongly; the rest never ends in another error."""
    place = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255))
    changed = content[:place] + bytes([value]) + content[place + 1 :]
    whole = read_sample(scratch, kind, content)
    try:
        pixels = read_sample(scratch, kind, changed)
    except DataError:
        return
    assert pixels.dtype == np.uint8
    if kind in ("gz", "archive"):
        np.testing.assert_array_equal(pixels, whole)

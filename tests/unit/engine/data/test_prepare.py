"""Preparing data sets, mostly from small files, with real processes and downloads."""

import hashlib
import os
import pickle
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.mnist_files import MNIST_FILES
from batchscope.engine.data.prepare import normalization_table, prepare
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import ARRAYS, load_arrays
from batchscope.engine.data.raw_files import DataError
from tests.torchvision_compat import import_torchvision
from tests.unit.engine.data.prepare_fixtures import (
    COMMAND,
    ROOT,
    cut_short,
    environment,
    facts,
    names,
    write_mnist,
)

SHARED = ROOT / ".." / "shared" / "data"


# The 1,437 + 360 digits, shuffled, split and normalized: the same bits on every machine.
DIGITS_DIGEST = "b5f121d857c291e5b67ef71eaf68dcb4e129d5ffb2053a7d69845073ca272775"


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare("digits", tmp_path_factory.mktemp("home"))


# ---- the arrays


def test_digits_are_split_as_documented(bundled: Prepared) -> None:
    """Undoing the normalization gives scikit-learn's images in the order of the generator."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    arrays = load_arrays(bundled)
    train_images, train_labels, test_images, test_labels = arrays
    assert (bundled.train, bundled.test, bundled.shape, bundled.classes) == (
        1437,
        360,
        (1, 8, 8),
        10,
    )
    assert [array.shape for array in arrays] == [(1437, 1, 8, 8), (1437,), (360, 1, 8, 8), (360,)]
    assert [array.dtype for array in arrays] == [np.float32, np.int64] * 2
    images = np.concatenate([train_images, test_images])[:, 0]
    pixels = (images.astype(np.float64) * 0.3759 + 0.3054) * 16
    np.testing.assert_allclose(pixels, bunch.images[order], atol=1e-4)
    labels = np.concatenate([train_labels, test_labels])
    np.testing.assert_array_equal(labels, bunch.target[order])


def test_digits_are_normalized_by_their_mean_and_std(bundled: Prepared) -> None:
    train_images = load_arrays(bundled)[0].astype(np.float64)
    # The constants have four decimals: the mean is 0 and the deviation 1 within 0.0001 / std.
    assert abs(train_images.mean()) < 3e-4
    assert abs(train_images.std() - 1) < 3e-4


def test_the_digest_is_that_of_the_arrays(bundled: Prepared) -> None:
    content = b"".join(np.load(Path(bundled.folder) / f"{name}.npy").tobytes() for name in ARRAYS)
    assert bundled.digest == hashlib.sha256(content).hexdigest() == DIGITS_DIGEST


def test_torch_accepts_the_arrays_and_writes_stay_private(bundled: Prepared) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = [torch.from_numpy(array) for array in load_arrays(bundled)]
    kept = first[0].clone()
    first[0].zero_()
    again = torch.from_numpy(load_arrays(bundled)[0])
    assert torch.equal(again, kept)


@pytest.mark.parametrize("name", DATASETS)
def test_the_table_normalizes_as_torchvision_does(name: str) -> None:
    """`ToTensor` and `Normalize` on images that hold every pixel value, to the bit."""
    import torch

    dataset = DATASETS[name]
    values = np.arange(dataset.pixel_max + 1, dtype=np.uint8)
    transforms = import_torchvision().transforms
    image = np.stack([values] * len(dataset.mean), axis=-1)[np.newaxis]
    if dataset.pixel_max == 255:
        scaled = transforms.ToTensor()(image)
    else:
        scaled = torch.from_numpy(image).permute(2, 0, 1).float() / dataset.pixel_max
    expected = transforms.Normalize(dataset.mean, dataset.std)(scaled)[:, 0]
    table = normalization_table(dataset)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, expected.numpy())


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real MNIST in ../shared/data")
def test_real_mnist_is_what_torchvision_reads(tmp_path: Path) -> None:
    prepared = prepare("mnist", tmp_path, SHARED)
    train_images, train_labels, test_images, test_labels = load_arrays(prepared)
    assert (prepared.train, prepared.test, prepared.shape) == (10_000, 10_000, (1, 28, 28))
    mnist = import_torchvision().datasets.MNIST
    for train, images, labels in (
        (True, train_images, train_labels),
        (False, test_images, test_labels),
    ):
        reference = mnist(str(SHARED), train=train)
        np.testing.assert_array_equal(labels, reference.targets.numpy())
        pixels = np.rint((images[:, 0] * np.float32(0.3081) + np.float32(0.1307)) * 255)
        np.testing.assert_array_equal(pixels, reference.data.numpy())
    # 10,000 of the 60,000 images that the constants were taken from.
    assert abs(float(train_images.mean(dtype=np.float64))) < 0.01
    assert abs(float(train_images.std(dtype=np.float64)) - 1) < 0.01


def test_a_folder_with_few_images(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    prepared = prepare("mnist", tmp_path / "home", tmp_path / "files")
    train_images, train_labels, test_images, test_labels = load_arrays(prepared)
    assert (prepared.train, prepared.test) == (30, 10)
    assert train_labels.tolist() == [*range(10)] * 3
    assert test_labels.tolist() == [*range(10)]
    np.testing.assert_allclose(train_images[17], (17 / 255 - 0.1307) / 0.3081, rtol=1e-6)
    np.testing.assert_allclose(test_images[9], (9 / 255 - 0.1307) / 0.3081, rtol=1e-6)


def test_each_channel_has_its_own_constants(tmp_path: Path) -> None:
    """Grey images of CIFAR-10: each channel of the result differs by its mean and deviation."""
    folder = tmp_path / "files" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    content = pickle.dumps({"data": np.full((2, 3072), 51, np.uint8), "labels": [3, 4]}, 2)
    for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        (folder / name).write_bytes(content)
    prepared = prepare("cifar10", tmp_path / "home", tmp_path / "files")
    images = load_arrays(prepared)[0]
    assert images.shape == (10, 3, 32, 32)
    for channel, (mean, std) in enumerate([(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)]):
        np.testing.assert_allclose(images[:, channel], (0.2 - mean) / std, rtol=1e-6)


# ---- once, and whole


def test_preparing_again_writes_nothing(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    before = (Path(first.folder) / "prepared.json").stat()
    assert prepare("mnist", tmp_path / "home", tmp_path / "files") == first
    after = (Path(first.folder) / "prepared.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    # The same images in a folder of another name are another preparation, with one digest.
    shutil.copytree(raw.parent.parent, tmp_path / "copy")
    second = prepare("mnist", tmp_path / "home", tmp_path / "copy")
    assert second.folder != first.folder
    assert second.digest == first.digest


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    path = raw / MNIST_FILES[0]
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second = prepare("mnist", tmp_path / "home", tmp_path / "files")
    assert second.digest != first.digest
    assert float(load_arrays(second)[0][-1, 0, -1, -1]) == pytest.approx((1 - 0.1307) / 0.3081)
    assert float(load_arrays(first)[0][-1, 0, -1, -1]) < 0


def test_the_digits_ignore_a_folder(bundled: Prepared, tmp_path: Path) -> None:
    home = Path(bundled.folder).parents[1]
    assert prepare("digits", home, tmp_path / "nowhere") == bundled


def test_a_moved_home(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    (tmp_path / "home").rename(tmp_path / "moved")
    moved = prepare("mnist", tmp_path / "moved", tmp_path / "files")
    assert moved.digest == first.digest
    assert len(load_arrays(moved)[1]) == 30
    with pytest.raises(DataError, match="prepared data cannot be read"):
        load_arrays(first)


def lengthen(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"!")


def empty(path: Path) -> None:
    os.truncate(path, 0)


def retype(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float16))


def reshape(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, lengthen, empty, retype, reshape])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_preparation_is_repeated(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    damage(Path(first.folder) / f"{name}.npy")
    assert prepare("mnist", tmp_path / "home", tmp_path / "files") == first
    assert load_arrays(first)[1].tolist() == [*range(10)] * 3
    assert np.load(Path(first.folder) / f"{name}.npy").dtype in (np.float32, np.int64)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-5],
        lambda text: b"",
        lambda text: text.replace(b'"train":30', b'"train":31'),
        lambda text: text.replace(b'"mnist"', b'"cifar10"'),
        lambda text: text.replace(b'"format":1', b'"format":0'),
    ],
)
def test_a_damaged_summary_is_rewritten(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    path = Path(first.folder) / "prepared.json"
    assert change(path.read_bytes()) != path.read_bytes()
    path.write_bytes(change(path.read_bytes()))
    assert prepare("mnist", tmp_path / "home", tmp_path / "files") == first
    assert msgspec.json.decode(path.read_bytes(), type=Prepared) == first


def test_files_of_a_killed_preparation_are_removed(tmp_path: Path) -> None:
    """Its folder is not taken for a preparation; another data set's is left alone."""
    write_mnist(tmp_path / "files")
    data = tmp_path / "home" / "data"
    dead, others = data / ".mnist-0123.abcd.partial", data / ".fashion-mnist-0.a.partial"
    for folder in (dead, others):
        folder.mkdir(parents=True)
        (folder / "train_images.npy").write_bytes(b"half")
    prepared = prepare("mnist", tmp_path / "home", tmp_path / "files")
    assert load_arrays(prepared)[1].tolist() == [*range(10)] * 3
    assert names(data) == sorted(["mnist.lock", others.name, Path(prepared.folder).name])


def test_simultaneous_processes_give_one_result(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([*COMMAND, "digits", tmp_path], env=environment(), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [facts(process.communicate()[0].decode()) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert results[0] == results[1]
    assert results[0][0]["prepared"]["digest"] == DIGITS_DIGEST
    assert names(tmp_path / "data") == ["digits-bundled", "digits.lock"]

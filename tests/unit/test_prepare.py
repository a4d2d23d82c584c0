"""Preparation, mostly on small files made here; its processes and downloads run for real."""

import gzip
import hashlib
import http.server
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.datafiles import DataError
from engine.datasets import DATASETS
from engine.prepare import ARRAYS, load_arrays, normalization_table, prepare
from engine.prepared import Prepared
from engine.readers import MNIST_FILES
from engine.torchvision_guard import import_torchvision

ROOT = Path(__file__).parents[2]
SHARED = ROOT / ".." / "shared" / "data"
COMMAND = [sys.executable, "-P", "-m", "engine.prepare"]

# The 1,437 + 360 digits, shuffled, split and normalized: the same bits on every machine.
DIGITS_DIGEST = "b5f121d857c291e5b67ef71eaf68dcb4e129d5ffb2053a7d69845073ca272775"


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(root: Path, folder: str = "MNIST", train: int = 30, test: int = 10) -> Path:
    """Every pixel of image n is n, every label its last digit; returns the raw folder."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        numbers = np.arange(count, dtype=np.uint8)
        images = np.repeat(numbers, 28 * 28).reshape(count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(numbers % 10))
    return raw


def environment(**changes: str) -> dict[str, str]:
    proxies = {"http_proxy": "", "https_proxy": "", "no_proxy": ""}
    return {**os.environ, "PYTHONPATH": str(ROOT), **proxies, **changes}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def facts(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def run(*arguments: object, **changes: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the preparation as a process: its exit code, what it stated, its stderr."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], env=environment(**changes), capture_output=True, text=True
    )
    return done.returncode, facts(done.stdout), done.stderr


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


def test_digits_are_normalized_by_their_own_figures(bundled: Prepared) -> None:
    train_images = load_arrays(bundled)[0].astype(np.float64)
    # The constants have four decimals: the mean is 0 and the deviation 1 within 0.0001 / std.
    assert abs(train_images.mean()) < 3e-4
    assert abs(train_images.std() - 1) < 3e-4


def test_the_digest_is_that_of_the_arrays(bundled: Prepared) -> None:
    content = b"".join(np.load(Path(bundled.folder) / f"{name}.npy").tobytes() for name in ARRAYS)
    assert bundled.digest == hashlib.sha256(content).hexdigest() == DIGITS_DIGEST


def test_torch_takes_the_arrays_and_writes_stay_private(bundled: Prepared) -> None:
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


def test_a_folder_of_few_images(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    prepared = prepare("mnist", tmp_path / "home", tmp_path / "files")
    train_images, train_labels, test_images, test_labels = load_arrays(prepared)
    assert (prepared.train, prepared.test) == (30, 10)
    assert train_labels.tolist() == [*range(10)] * 3
    assert test_labels.tolist() == [*range(10)]
    np.testing.assert_allclose(train_images[17], (17 / 255 - 0.1307) / 0.3081, rtol=1e-6)
    np.testing.assert_allclose(test_images[9], (9 / 255 - 0.1307) / 0.3081, rtol=1e-6)


def test_channels_have_constants_of_their_own(tmp_path: Path) -> None:
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


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
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


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
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


def test_a_home_that_was_moved(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    (tmp_path / "home").rename(tmp_path / "moved")
    moved = prepare("mnist", tmp_path / "moved", tmp_path / "files")
    assert moved.digest == first.digest
    assert len(load_arrays(moved)[1]) == 30
    with pytest.raises(DataError, match="prepared data cannot be read"):
        load_arrays(first)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


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
def test_a_damaged_preparation_is_made_anew(
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
def test_a_damaged_summary_is_made_anew(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    path = Path(first.folder) / "prepared.json"
    assert change(path.read_bytes()) != path.read_bytes()
    path.write_bytes(change(path.read_bytes()))
    assert prepare("mnist", tmp_path / "home", tmp_path / "files") == first
    assert msgspec.json.decode(path.read_bytes(), type=Prepared) == first


def test_what_a_killed_preparation_left_is_cleared(tmp_path: Path) -> None:
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


def test_processes_at_once_give_one_result(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([*COMMAND, "digits", tmp_path], env=environment(), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert results[0] == results[1]
    assert facts(results[0].decode())[0]["prepared"]["digest"] == DIGITS_DIGEST
    assert names(tmp_path / "data") == ["digits-bundled", "digits.lock"]


# ---- what can go wrong


def test_unknown_names_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set 'minst'; did you mean 'mnist'"):
        prepare("minst", tmp_path)
    with pytest.raises(DataError, match="nowhere: cannot be read: No such file or directory"):
        prepare("mnist", tmp_path, tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        prepare("cifar10", tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_leaves_nothing_behind(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "files")
    cut_short(raw / MNIST_FILES[0])
    with pytest.raises(DataError, match="truncated"):
        prepare("mnist", tmp_path / "home", tmp_path / "files")
    assert names(tmp_path / "home" / "data") == ["mnist.lock"]


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataError, match=r"home.*: cannot write data here: Not a directory"):
        prepare("mnist", tmp_path / "home" / "below", tmp_path / "files")
    with pytest.raises(DataError, match=r"home.*: cannot write data here: "):
        prepare("mnist", tmp_path / "home", tmp_path / "files")


def test_a_disk_without_room(tmp_path: Path) -> None:
    """The system refuses to let any file grow past 2,000 bytes: the arrays do not fit."""
    write_mnist(tmp_path / "files")
    limited = (
        "import resource, runpy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "runpy.run_module('engine.prepare', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", limited, "mnist", "home", "files"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (3, "")
    [fact] = facts(done.stdout)
    assert fact["error"].startswith(str(tmp_path / "home"))
    assert "File too large" in fact["error"]
    assert names(tmp_path / "home" / "data") == ["mnist.lock"]


def test_a_home_without_a_utf8_name(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    with pytest.raises(DataError, match="not valid UTF-8"):
        prepare("mnist", tmp_path / "caf\udce9", tmp_path / "files")


# ---- as a process


def test_a_process_states_its_result(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    code, [fact], errors = run("mnist", tmp_path / "home", tmp_path / "files")
    assert (code, errors) == (0, "")
    prepared = msgspec.convert(fact["prepared"], Prepared)
    assert prepared == prepare("mnist", tmp_path / "home", tmp_path / "files")


def test_a_process_states_its_error(tmp_path: Path) -> None:
    code, [fact], errors = run("mnist", tmp_path / "home", tmp_path / "files")
    assert (code, errors) == (3, "")
    assert list(fact) == ["error"]
    assert "files: cannot be read" in fact["error"]
    code, [fact], errors = run("mnist")
    assert (code, errors) == (2, "")
    assert fact["error"].startswith("usage: ")


def test_a_process_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*COMMAND, "mnist", tmp_path / "home", tmp_path / "files"],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (1, b"")


def test_importing_needs_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, engine.prepare\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'textual'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], env=environment(), check=True)
    code = (
        "import sys, engine.datasets\n"
        "assert not {'numpy', 'torch', 'torchvision', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], env=environment(), check=True)


# ---- downloads


class Mirror(http.server.ThreadingHTTPServer):
    """A proxy that answers for every host, over plain HTTP, with the files that it was given.

    Until it is asked for `log-in` it answers everything as a captive portal does.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), MirrorHandler)
        self.files = files
        self.logged_in = False


class MirrorHandler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.logged_in |= name == "log-in"
        content = (
            self.server.files[name] if self.server.logged_in and name != "log-in" else GREETING
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is no log of a server."""


GREETING = b"please log in to this network"


def published_fashion() -> dict[str, bytes]:
    """Files as large as Fashion-MNIST's once unpacked, of even pixels that compress well."""
    arrays: list[NDArray[np.uint8]] = []
    for count in (60_000, 10_000):
        arrays.append(np.full((count, 28, 28), 200, np.uint8))
        arrays.append((np.arange(count) % 10).astype(np.uint8))
    return {
        f"{name}.gz": gzip.compress(idx(array), compresslevel=1, mtime=0)
        for name, array in zip(MNIST_FILES, arrays, strict=True)
    }


def closed_port() -> int:
    """A port of this machine at which nobody listens: it was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# One process for all of it, because loading torch takes longer than the rest. The last step is
# `engine.prepare` as it is run, with a library and a child of its own that print on the way.
DOWNLOADS = """
import json, os, sys, urllib.request
from pathlib import Path
from engine import prepare, torchvision_guard

home = Path(sys.argv[2])

def attempt(name, proxy):
    os.environ["http_proxy"] = os.environ["https_proxy"] = proxy
    urllib.request.install_opener(None)  # the one that remembers the proxy before
    progress = []
    try:
        prepare.prepare(name, home, None, lambda *counts: progress.append(counts))
    except prepare.DataError as error:
        return {"error": str(error), "progress": progress}

refused = {name: attempt(name, os.environ["CLOSED"]) for name in ("mnist", "cifar10")}
portal = attempt("fashion-mnist", os.environ["MIRROR"])
left = sorted(path.name for path in (home / "data").iterdir())
Path(os.environ["REPORT"]).write_text(json.dumps({**refused, "portal": portal, "left": left}))
urllib.request.urlopen("http://any.host/log-in").close()

# A file that an earlier extraction left half-written, which torchvision would believe.
half = home / "data/raw/FashionMNIST/raw/train-images-idx3-ubyte"
half.write_bytes(bytes([0, 0, 8, 3]) + b"half")
fashion = torchvision_guard.import_torchvision().datasets.FashionMNIST
fashion.resources = json.loads(os.environ["RESOURCES"])
download = fashion.download
def printing(self):
    print("noise")
    os.system("echo noise")
    download(self)
fashion.download = printing
sys.exit(prepare.main())
"""


class Downloads(NamedTuple):
    """What the process did: what it reported of the failures, and how the success went."""

    home: Path
    failed: dict[str, Any]
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Downloads]:
    home, report = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("report") / "json"
    files = published_fashion()
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    with Mirror(files) as mirror:
        thread = threading.Thread(target=mirror.serve_forever)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-P", "-c", DOWNLOADS, "fashion-mnist", str(home)],
            env=environment(
                CLOSED=f"http://127.0.0.1:{closed_port()}",
                MIRROR=f"http://127.0.0.1:{mirror.server_address[1]}",
                REPORT=str(report),
                RESOURCES=json.dumps(sums),
            ),
            capture_output=True,
            text=True,
        )
        mirror.shutdown()
        thread.join()
    assert report.exists(), done.stderr
    yield Downloads(home, json.loads(report.read_text()), done)
    shutil.rmtree(home)  # 280 MB that need not outlive the tests


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_without_a_line(downloads: Downloads, name: str) -> None:
    """Whatever line this machine has, the way to it led to a port where nobody listens."""
    assert downloads.failed[name] == {
        "error": f"{DATASETS[name].title} could not be downloaded: Connection refused;"
        " --data-dir DIR reads files that you already have",
        "progress": [],
    }


def test_a_download_that_brings_something_else(downloads: Downloads) -> None:
    assert downloads.failed["portal"] == {
        "error": "Fashion-MNIST could not be downloaded: File not found or corrupted;"
        " --data-dir DIR reads files that you already have",
        "progress": [[len(GREETING), 30_878_645]],
    }
    locks = ["cifar10.lock", "fashion-mnist.lock", "mnist.lock"]
    assert downloads.failed["left"] == [*locks, "raw"]


def test_a_download(downloads: Downloads) -> None:
    assert downloads.done.returncode == 0, downloads.done.stderr
    assert downloads.done.stderr.count("noise") == 2
    *progress, last = facts(downloads.done.stdout)
    assert progress
    assert all(fact["total"] == 30_878_645 for fact in progress)
    counts = [fact["received"] for fact in progress]
    assert counts == sorted(counts)
    prepared = msgspec.convert(last["prepared"], Prepared)
    assert Path(prepared.folder) == downloads.home / "data" / "fashion-mnist-download"
    assert (prepared.train, prepared.test) == (60_000, 10_000)
    train_images, train_labels, _, test_labels = load_arrays(prepared)
    expected = (200 / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(train_images[[0, 511, 512, -1]], expected, rtol=1e-6)
    assert np.bincount(train_labels).tolist() == [6000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10


def test_what_was_downloaded_is_kept(downloads: Downloads) -> None:
    """It is enough to prepare from, without a line: the mirror is gone by now."""
    folder = downloads.home / "data" / "fashion-mnist-download"
    prepared = msgspec.json.decode((folder / "prepared.json").read_bytes(), type=Prepared)
    shutil.rmtree(folder)
    assert prepare("fashion-mnist", downloads.home) == prepared

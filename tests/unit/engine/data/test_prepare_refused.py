"""Preparing data that are missing or wrong, also as a process and from the network."""

import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from batchscope.engine.data import download
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.mnist_files import MNIST_FILES
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import load_arrays
from batchscope.engine.data.raw_files import DataError
from tests.messages import says
from tests.unit.engine.data.prepare_fixtures import (
    COMMAND,
    cut_short,
    environment,
    facts,
    idx,
    names,
    write_mnist,
)


def run(*arguments: object, **changes: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the preparation as a process: its exit code, what it stated, its stderr."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], env=environment(**changes), capture_output=True, text=True
    )
    return done.returncode, facts(done.stdout), done.stderr


# ---- what can go wrong


def test_unknown_names_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'minst'; did you mean 'mnist'"):
        prepare("minst", tmp_path)
    with pytest.raises(DataError, match="nowhere: cannot be read: No such file or directory"):
        prepare("mnist", tmp_path, tmp_path / "nowhere")
    with pytest.raises(DataError, match="no CIFAR-10 here"):
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
    with pytest.raises(DataError, match=r"home.*: data cannot be written here: Not a directory"):
        prepare("mnist", tmp_path / "home" / "below", tmp_path / "files")
    with pytest.raises(DataError, match=r"home.*: data cannot be written here: "):
        prepare("mnist", tmp_path / "home", tmp_path / "files")


def test_a_full_disk(tmp_path: Path) -> None:
    """The system refuses to let any file grow past 2,000 bytes: the arrays do not fit."""
    write_mnist(tmp_path / "files")
    limited = (
        "import resource, runpy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "runpy.run_module('batchscope.engine.data.prepare', run_name='__main__', alter_sys=True)"
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


def test_a_process_writes_its_result(tmp_path: Path) -> None:
    write_mnist(tmp_path / "files")
    code, [fact], errors = run("mnist", tmp_path / "home", tmp_path / "files")
    assert (code, errors) == (0, "")
    prepared = msgspec.convert(fact["prepared"], Prepared)
    assert prepared == prepare("mnist", tmp_path / "home", tmp_path / "files")


def test_a_process_writes_its_error(tmp_path: Path) -> None:
    code, [fact], errors = run("mnist", tmp_path / "home", tmp_path / "files")
    assert (code, errors) == (3, "")
    assert list(fact) == ["error"]
    assert "files: cannot be read" in fact["error"]
    code, [fact], errors = run("mnist")
    assert (code, errors) == (2, "")
    assert fact["error"].startswith("usage: ")


def test_a_process_without_a_reader_ends_quietly(tmp_path: Path) -> None:
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
        "import sys, batchscope.engine.data.prepare\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'textual'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], env=environment(), check=True)
    code = (
        "import sys, batchscope.engine.data.catalog\n"
        "assert not {'numpy', 'torch', 'torchvision', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], env=environment(), check=True)


# ---- downloads


class Mirror(http.server.ThreadingHTTPServer):
    """A proxy that answers for every host, over plain HTTP, with the files that it was given.

    Those below `/gone/` it refuses, and of those below `/cut/` it sends one byte. Until it is
    asked for `log-in` it answers everything as a captive portal does.
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
        self.send_response(404 if "/gone/" in self.path else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1] if "/cut/" in self.path else content)

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


# One process for all of it, since each step begins with what the last one left. The last is
# `engine.data.prepare` as it is run, with a library and a child of its own that print on the way.
DOWNLOADS = """
import json, os, sys, urllib.request
from pathlib import Path
import pooch
from batchscope.engine.data import download, prepare

home = Path(sys.argv[2])

def attempt(name, proxy):
    os.environ["http_proxy"] = os.environ["https_proxy"] = proxy
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

# What a kill may leave: a file that was half unpacked, and one that was half fetched.
kept = home / "data/raw/FashionMNIST/raw"
(kept / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + b"half")
(kept / "tmp0123abc_").write_bytes(b"half")
fashion = download.PUBLISHED["fashion-mnist"]
sums = json.loads(os.environ["SUMS"])
mirrors = ("http://any.host/gone/", "http://any.host/cut/", *fashion.mirrors)
download.PUBLISHED["fashion-mnist"] = fashion._replace(mirrors=mirrors, sums=sums)
retrieve = pooch.retrieve
def printing(*arguments, **named):
    if not list(kept.glob("*.gz")) and "gone" in arguments[0]:
        print("noise")
        os.system("echo noise")
    return retrieve(*arguments, **named)
pooch.retrieve = printing
sys.exit(prepare.main())
"""


class Downloads(NamedTuple):
    """What the process did: what it reported of the failures, and how the success went."""

    home: Path
    failed: dict[str, Any]
    sums: dict[str, str]
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Downloads]:
    home, report = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("report") / "json"
    files = published_fashion()
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    with Mirror(files) as mirror:
        thread = threading.Thread(target=mirror.serve_forever)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-P", "-c", DOWNLOADS, "fashion-mnist", str(home)],
            env=environment(
                CLOSED=f"http://127.0.0.1:{closed_port()}",
                MIRROR=f"http://127.0.0.1:{mirror.server_address[1]}",
                REPORT=str(report),
                SUMS=json.dumps(sums),
            ),
            capture_output=True,
            text=True,
        )
        mirror.shutdown()
        thread.join()
    assert report.exists(), done.stderr
    yield Downloads(home, json.loads(report.read_text()), sums, done)
    shutil.rmtree(home)  # 280 MB that need not outlive the tests


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_without_a_connection(downloads: Downloads, name: str) -> None:
    """Whatever line this machine has, the way to it led to a port where nobody listens."""
    failed = downloads.failed[name]
    assert failed["progress"] == []
    assert says(failed["error"], f"{DATASETS[name].title} | Connection refused | --data-dir DIR")


def test_a_download_of_other_files(downloads: Downloads) -> None:
    failed = downloads.failed["portal"]
    assert failed["progress"] == [[len(GREETING), 30_878_645]] * 2
    assert says(failed["error"], "Fashion-MNIST | downloaded files differ | --data-dir DIR")
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
    kept = downloads.home / "data" / "raw" / "FashionMNIST" / "raw"
    assert names(kept) == sorted(f"{name}.gz" for name in MNIST_FILES)
    assert (prepared.train, prepared.test) == (60_000, 10_000)
    train_images, train_labels, _, test_labels = load_arrays(prepared)
    expected = (200 / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(train_images[[0, 511, 512, -1]], expected, rtol=1e-6)
    assert np.bincount(train_labels).tolist() == [6000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10


def test_downloaded_files_are_kept(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is enough to prepare from, without a line: the mirror is gone by now."""
    ours = download.PUBLISHED["fashion-mnist"]._replace(sums=downloads.sums)
    monkeypatch.setitem(download.PUBLISHED, "fashion-mnist", ours)
    folder = downloads.home / "data" / "fashion-mnist-download"
    prepared = msgspec.json.decode((folder / "prepared.json").read_bytes(), type=Prepared)
    shutil.rmtree(folder)
    kept = downloads.home / "data" / "raw" / "FashionMNIST" / "raw"
    (kept / MNIST_FILES[1]).write_bytes(b"unpacked by an earlier program, and half of it")
    assert prepare("fashion-mnist", downloads.home) == prepared
    assert not (kept / MNIST_FILES[1]).exists()


@pytest.mark.parametrize("how", ["flip", "cut", "fifo", "folder", "link", "gone"])
def test_a_download_that_changed_is_not_read(
    downloads: Downloads, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fetched again; here there is no line, so the sweep is told that there is none."""
    ours = download.PUBLISHED["fashion-mnist"]
    broken = ours._replace(sums=downloads.sums, mirrors=(f"http://127.0.0.1:{closed_port()}/",))
    monkeypatch.setitem(download.PUBLISHED, "fashion-mnist", broken)
    kept = downloads.home / "data" / "raw"
    shutil.copytree(kept, tmp_path / "data" / "raw", copy_function=os.link)
    path = tmp_path / "data" / "raw" / "FashionMNIST" / "raw" / f"{MNIST_FILES[1]}.gz"
    content = bytearray(path.read_bytes())
    path.unlink()
    if how in ("flip", "cut"):
        content[4] ^= how == "flip"  # in the time of the header, which gzip does not check
        path.write_bytes(content[: len(content) - (how == "cut")])
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"could not be downloaded: Connection refused"):
        prepare("fashion-mnist", tmp_path)
    assert not os.path.lexists(path)

"""Files that would take much more memory or time than they have bytes, and things that are no files.

Each is read in a process of its own, whose peak of memory is compared with that of one that read
small, undamaged files.
"""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from batchscope.engine.data.cifar10_files import CIFAR10_ARCHIVE, CIFAR10_FILES
from batchscope.engine.data.mnist_files import MNIST_FILES
from tests.unit.engine.data.prepare_fixtures import environment
from tests.unit.engine.data.raw_file_fixtures import (
    archive,
    batch,
    idx,
    some_bytes,
    write_cifar10,
    write_mnist,
)

READ = """
import json, re, sys
from pathlib import Path
from batchscope.engine.data.mnist_files import read_files
from batchscope.engine.data.raw_files import DataError

try:
    message = str(len(read_files(sys.argv[1], Path(sys.argv[2])).train_labels))
except DataError as error:
    message = str(error)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([message, int(peak[1])]))
"""
MORE_MIB = 100
GIB = 1 << 30


def read(name: str, root: Path) -> tuple[str, float]:
    """Read a data set; return the number of images or the error, and the peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, name, str(root)],
        env=environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    message, peak = json.loads(done.stdout)
    return message, peak / 1024


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The peak of a process that read few images."""
    root = tmp_path_factory.mktemp("usual") / "files"
    write_mnist(root)
    message, peak = read("mnist", root)
    assert message == "20"
    return peak


def bomb(start: bytes, mebibytes: int = 4096) -> bytes:
    """A gzip stream of `start` and so many MiB of zeros, a thousand times smaller."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    pieces = [packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    return packed + pieces[1] * mebibytes + packer.flush()


def tar_header(name: str, size: int, kind: bytes = b"0") -> bytes:
    """The header of one member, from the specification of ustar."""
    fields = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    fields += f"{size:o}".rjust(11, "0").encode() + b"\0" + b"0" * 11 + b"\0"
    rest = (kind + bytes(100) + b"ustar\x0000").ljust(512 - 156, b"\0")
    total = sum(fields) + 8 * ord(" ") + sum(rest)
    return fields + f"{total:06o}\0 ".encode() + rest


BATCH = f"cifar-10-batches-py/{CIFAR10_FILES[0]}"


def member(content: bytes) -> bytes:
    return tar_header(BATCH, len(content)) + content + bytes(-len(content) % 512)


OTHERS = "it unpacks to more than 64.0 MiB of other files"
ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a batch of 4 GiB": (
        lambda: bomb(tar_header(BATCH, 4 * GIB)),
        "data_batch_1 is larger than 299 MiB",
    ),
    "another file of 4 GiB": (lambda: bomb(tar_header("x", 4 * GIB)), OTHERS),
    "an extended header of 1 GiB": (lambda: bomb(tar_header("x", GIB, b"x"), 1025), OTHERS),
    "a long name of 1 GiB": (lambda: bomb(tar_header("x", GIB, b"L"), 1025), OTHERS),
    "a sparse file": (lambda: bomb(tar_header("x", 7 * GIB, b"S"), 1), OTHERS),
    "headers without end": (
        lambda: bomb(tar_header("x", 0) * (1 << 18), 0),
        "more than 10,000 members",
    ),
    "a batch twice": (
        lambda: gzip.compress(2 * member(batch(2, 0))),
        "data_batch_1 is there twice",
    ),
    "zeros after the end": (lambda: bomb(archived()), "goes on after its end"),
    "a negative size": (
        lambda: gzip.compress(tar_header("x", 0).replace(b"0" * 11, b"-0000000001", 1)),
        "a header has changed",
    ),
    "zeros after the stream": (lambda: gzip.compress(b"x") + bytes(1 << 20), "ends in zeros"),
}


def archived() -> bytes:
    return gzip.decompress(archive({name: batch(2, 0) for name in CIFAR10_FILES}))


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_unpacks_to_gigabytes(tmp_path: Path, name: str, usual: float) -> None:
    content, expected = ARCHIVES[name]
    (tmp_path / CIFAR10_ARCHIVE).write_bytes(content())
    assert (tmp_path / CIFAR10_ARCHIVE).stat().st_size < 5 << 20
    message, peak = read("cifar10", tmp_path)
    assert expected in message
    assert CIFAR10_ARCHIVE in message
    assert peak < usual + MORE_MIB


def claiming(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (claiming(0xFFFFFFFF, 28, 28), "at most 470,400,000 bytes"),
        (gzip.compress(claiming(0xFFFFFFFF, 28, 28)), "at most 470,400,000 bytes"),
        (bomb(claiming(20, 28, 28)), "longer than its header says"),
        (claiming(20, 28, 28) + bytes(1 << 20), "longer than its header says"),
    ],
    ids=["claimed", "claimed in gzip", "unpacked", "appended"],
)
def test_images_that_promise_or_unpack_to_gigabytes(
    tmp_path: Path, content: bytes, expected: str, usual: float
) -> None:
    tmp_path /= "files"
    write_mnist(tmp_path)
    (tmp_path / MNIST_FILES[0]).write_bytes(content)
    message, peak = read("mnist", tmp_path)
    assert expected in message
    assert MNIST_FILES[0] in message
    assert peak < usual + MORE_MIB


def test_labels_that_promise_gigabytes(tmp_path: Path, usual: float) -> None:
    tmp_path /= "files"
    write_mnist(tmp_path)
    (tmp_path / MNIST_FILES[1]).write_bytes(claiming(400_000_000))
    os.truncate(tmp_path / MNIST_FILES[1], 400_000_008)
    message, peak = read("mnist", tmp_path)
    assert f"{MNIST_FILES[1]}: cannot be read: is larger than" in message
    assert peak < usual + MORE_MIB


PICKLES: dict[str, Callable[[], bytes]] = {
    # as one changed bit of a published file does: a memo of four thousand million places
    "a high place in the memo": lambda: b"\x80\x02K\x01r" + struct.pack("<I", 0xFFFFFFF0) + b".",
    "lists": lambda: b"\x80\x02" + b"]" * (50 << 20) + b".",
    "nested lists": lambda: b"\x80\x02" + b"]" * 700_000 + b"a" * 699_999 + b".",
    "nested keys": lambda: b"\x80\x02})" + b"\x85" * 400_000 + b"K\x01s.",
    "a text that is not there": lambda: b"\x80\x02\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "a number that is not there": lambda: (
        b"\x80\x02\x8b" + struct.pack("<I", (1 << 31) - 1) + b"x."
    ),
    "marks": lambda: b"\x80\x02" + b"(" * (50 << 20) + b".",
    "labels in an array": lambda: pickle.dumps(
        {"data": some_bytes(4, 3072), "labels": some_bytes(40_000_000)}, protocol=2
    ),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_asks_for_memory(tmp_path: Path, name: str, usual: float) -> None:
    write_cifar10(tmp_path / "root")
    path = tmp_path / "root" / CIFAR10_FILES[1]
    path.write_bytes(PICKLES[name]())
    message, peak = read("cifar10", tmp_path / "root")
    assert ("labels for 4 images" if "labels" in name else "damaged") in message
    assert str(path) in message
    held = 3 * path.stat().st_size / (1 << 20)  # the file, and what is unpacked of it
    assert peak < usual + MORE_MIB + held


def test_names_that_python_3_wrote_as_bytes_for_python_2_are_read(tmp_path: Path) -> None:
    """Each is a call in the pickle; a published batch has ten thousand."""
    write_cifar10(tmp_path / "root", count=2)
    names = [f"{number}.png".encode() for number in range(10_000)]
    content = batch(2, 0, 2, filenames=names)
    (tmp_path / "root" / CIFAR10_FILES[1]).write_bytes(content)
    assert read("cifar10", tmp_path / "root")[0] == "10"


@pytest.mark.parametrize("how", ["fifo", "device", "folder", "loop", "sparse"])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("archived", [False, True])
def test_things_that_are_no_files(tmp_path: Path, name: str, how: str, archived: bool) -> None:
    tmp_path /= "files"
    if name == "mnist":
        write_mnist(tmp_path, compressed=archived)
        path = tmp_path / (MNIST_FILES[0] + (".gz" if archived else ""))
    elif archived:
        tmp_path.mkdir()
        path = tmp_path / CIFAR10_ARCHIVE
        path.write_bytes(b"")
    else:
        write_cifar10(tmp_path / "cifar-10-batches-py")
        path = tmp_path / "cifar-10-batches-py" / CIFAR10_FILES[0]
    if how == "sparse":
        os.truncate(path, 1 << 40)
    else:
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how in ("device", "loop"):
        path.symlink_to("/dev/zero" if how == "device" else path)
    message, _ = read(name, tmp_path)
    assert str(tmp_path) in message
    if how == "sparse":
        assert f"{path}: cannot be read: is larger than" in message
    else:
        assert ": missing" in message or "no CIFAR-10 here" in message


def test_a_stream_in_two_parts_is_read(tmp_path: Path) -> None:
    """As gzip joins them: the end of the file says nothing of the length then."""
    write_mnist(tmp_path / "files")
    content = idx(some_bytes(20, 28, 28, seed=1))
    (tmp_path / "files" / MNIST_FILES[0]).write_bytes(gzip.compress(content) + gzip.compress(b""))
    assert read("mnist", tmp_path / "files")[0] == "20"

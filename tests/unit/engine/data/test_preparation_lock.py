"""The lock under which a data set is prepared: who holds it, and other things in its place."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from batchscope.engine.data.preparation_lock import locked
from tests.unit.engine.data.prepare_fixtures import environment

HOLD = """
import sys
from pathlib import Path
from batchscope.engine.data.preparation_lock import locked

with locked(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(path: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the lock until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_whoever_waits_is_told_for_whom(tmp_path: Path) -> None:
    path, heard = tmp_path / "digits.lock", list[str]()
    with holding(path) as process:

        def wait(holder: str) -> None:
            heard.append(holder)
            if len(heard) == 1:
                process.send_signal(signal.SIGSTOP)
                while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
                    pass
            elif len(heard) == 2:
                process.kill()

        with locked(path, wait):
            assert path.read_text() == f"{os.getpid()} {socket.gethostname()}"
    assert path.read_text() == ""
    assert heard[:2] == [f"process {process.pid}", f"process {process.pid}, which is stopped"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "another process"),
        (b"\xff\x00 \x1b[2J", "another process"),
        (b"9" * 400 + b" x", "another process"),
        (b"-1 x", "another process"),
        (b"12", "process 12"),
        (b"12 \x1b[2Jnode", "process 12 on \N{REPLACEMENT CHARACTER}[2Jnode"),
    ],
)
def test_what_the_file_says_of_its_holder_is_not_believed(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path, heard = tmp_path / "digits.lock", list[str]()
    with holding(path) as process:
        path.write_bytes(content)

        def wait(holder: str) -> None:
            heard.append(holder)
            process.kill()

        with locked(path, wait):
            pass
    assert heard[0].isprintable()
    assert heard[0] == expected


@pytest.mark.parametrize("how", ["fifo", "folder", "link"])
def test_other_things_in_the_place_of_the_lock(tmp_path: Path, how: str) -> None:
    path = tmp_path / "digits.lock"
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "outside")
    expected = {"fifo": errno.EINVAL, "folder": errno.EISDIR, "link": errno.ELOOP}
    with pytest.raises(OSError, match=r".") as caught, locked(path, print):
        pass
    assert caught.value.errno == expected[how]
    assert not (tmp_path / "outside").exists()

"""How long a conductor waits for its sweep, with how many workers, and what it says meanwhile."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from batchscope.engine.processes.descriptor_passing import adopt
from batchscope.engine.standby import LEAST_MEMORY, how_many, wanted
from batchscope.engine.system.background import LOWEST, in_background

PLENTY = 64 << 30
linux_alone = pytest.mark.skipif(sys.platform != "linux", reason="a thread has its own niceness")


@pytest.mark.parametrize(
    ("places", "asked", "available", "count"),
    [
        (1, None, PLENTY, 1),
        (2, None, PLENTY, 2),
        (64, None, PLENTY, 2),
        (64, 1, PLENTY, 1),
        (64, 32, PLENTY, 2),
        (64, None, LEAST_MEMORY, 2),
        (64, None, LEAST_MEMORY - 1, 0),
        (64, None, None, 2),
    ],
)
def test_few_workers_wait_and_none_where_memory_is_short(
    places: int, asked: int | None, available: int | None, count: int
) -> None:
    assert how_many(places, asked, available) == count


def said(*lines: bytes, end: bool = True) -> asyncio.StreamReader:
    """A stream that holds these bytes."""
    reader = asyncio.StreamReader()
    for line in lines:
        reader.feed_data(line)
    if end:
        reader.feed_eof()
    return reader


async def test_a_line_says_what_is_wanted_and_an_empty_one_that_somebody_chooses() -> None:
    folder = "/sweeps/a b\\udcff\\n"
    line = f'["{folder}", "{{}}"]\n'.encode()
    assert await wanted(said(b"\n", b"\n", line), 60) == ["/sweeps/a b\udcff\n", "{}"]


@pytest.mark.parametrize("before", [b"", b"\n\n", b'["/sweeps/one"'])
async def test_the_end_of_stdin_ends_it_also_within_a_line(before: bytes) -> None:
    assert await wanted(said(before), 60) is None


@pytest.mark.parametrize(
    "line",
    [
        *(b"[\n", b"{}\n", b"[]\n", b"7\n", b'["a", 1]\n', b'"a"\n', b"\x00\n", b"\xff\n"),
        pytest.param(b"[" * 50_000 + b"\n", id="deep"),
        pytest.param(b'["' + b"a" * (1 << 20) + b'"]\n', id="long"),
    ],
)
async def test_any_other_line_ends_it(line: bytes) -> None:
    assert await wanted(said(line), 60) is None


async def test_silence_ends_it() -> None:
    assert await wanted(said(b"\n", end=False), 0.01) is None


async def test_patience_begins_anew_with_every_line() -> None:
    reader = said(end=False)
    waiting = asyncio.create_task(wanted(reader, 0.2))
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert not waiting.done()
        reader.feed_data(b"\n")
    reader.feed_data(b'["one"]\n')
    assert await waiting == ["one"]


@linux_alone
def test_background_work_is_nice_and_what_comes_after_is_not() -> None:
    found = []
    before = os.nice(0)
    in_background(lambda: found.append(os.nice(0)))
    assert found == [LOWEST]
    assert os.nice(0) == before


def test_an_error_in_the_background_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: print(1 // 0))


def test_what_was_said_before_there_was_a_log_comes_first_in_it(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from batchscope.engine.processes.descriptor_passing import speak_into\n"
        "os.write(2, b'early\\n')\n"
        f"speak_into(os.open({str(tmp_path / 'log')!r}, os.O_WRONLY | os.O_APPEND))\n"
        "os.write(1, b'on 1\\n')\n"
        "os.write(2, b'on 2\\n')\n"
    )
    (tmp_path / "log").write_text("there\n")
    with open(tmp_path / "unsaid", "w+b") as unsaid:
        subprocess.run([sys.executable, "-P", "-c", script], stderr=unsaid, check=True)
    assert (tmp_path / "log").read_text() == "there\nearly\non 1\non 2\n"


def test_what_was_sent_is_taken_even_if_the_sender_has_closed(tmp_path: Path) -> None:
    """As by a worker that is still loading when it is taken."""
    script = (
        "import os, socket\n"
        "from batchscope.engine.processes.descriptor_passing import adopt, hand_over\n"
        "ours, theirs = socket.socketpair()\n"
        f"lock = os.open({str(tmp_path / 'lock')!r}, os.O_RDWR | os.O_CREAT)\n"
        f"log = os.open({str(tmp_path / 'log')!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "assert hand_over(ours, lock, log)\n"
        "for each in (ours.detach(), lock, log):\n"
        "    os.close(each)\n"
        "assert adopt(theirs)\n"
        "held = [os.path.realpath(f'/proc/self/fd/{fd}') for fd in range(3, 20)]\n"
        f"os.write(1, b'held' if {str(tmp_path / 'lock')!r} in held else b'free')\n"
    )
    with open(tmp_path / "unsaid", "w+b") as unsaid:
        subprocess.run([sys.executable, "-P", "-c", script], stderr=unsaid, check=True)
    assert (tmp_path / "log").read_text() == "held"


def test_where_nobody_sends_there_is_nothing_to_take() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert not adopt(theirs)

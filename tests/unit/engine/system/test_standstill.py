"""A child that works is waited for, one that stands still is not."""

import signal
import subprocess
import sys

import pytest

from batchscope.engine.system.standstill import StoodStill, output_of

WORKING = "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint('x')"


def child(code: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe)


def test_slow_work_is_waited_for() -> None:
    assert output_of(child(WORKING), still=0.5) == (b"x\n", b"")


@pytest.mark.parametrize("number", [signal.SIGSTOP, None])
def test_a_child_that_does_nothing_is_killed(number: signal.Signals | None) -> None:
    process = child("import time; time.sleep(1000)")
    if number is not None:
        process.send_signal(number)
    with pytest.raises(StoodStill, match=r"^stood still for 1 s$"):
        output_of(process, still=0.6)
    assert process.returncode == -signal.SIGKILL


def test_work_without_end_is_ended() -> None:
    process = child("while True: pass")
    with pytest.raises(StoodStill, match=r"^did not end within 1 s$"):
        output_of(process, most=1.0)
    assert process.returncode == -signal.SIGKILL

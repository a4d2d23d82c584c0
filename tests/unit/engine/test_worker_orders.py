"""What a worker, as the process that it is, does with a line that is not an order."""

import subprocess
import sys

import pytest

from batchscope.engine.processes import orders


def ended(said: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "batchscope.engine.worker"],
        input=said,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\n", id="empty"),
        pytest.param(b"\x00\n", id="NUL"),
        pytest.param(b"\xff\n", id="no UTF-8"),
        pytest.param(b'{"order":"stop"}\n', id="unknown"),
        pytest.param(b"[" * 100_000 + b"\n", id="deep"),
        pytest.param(b'{"order":"ping","x":' + b"[" * 100_000 + b"\n", id="deep within"),
    ],
)
def test_it_ends_with_one_line_that_says_why(line: bytes) -> None:
    done = ended(orders.encode(orders.Ping()) + b"\n" + line)
    assert done.stdout == orders.ALIVE, "what came before is answered"
    assert done.returncode == 1
    (said,) = done.stderr.decode().splitlines()
    assert said.startswith("a line on stdin is not an order: ")


def test_the_end_of_stdin_is_no_error() -> None:
    done = ended(orders.encode(orders.Ping()) + b"\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, orders.ALIVE, b"")

"""Prints lines for a person on stdout and stderr: the only way for a text to a terminal.

A name of a folder, a text of a file and an argument may hold control characters, which could move
the cursor, set the title, or forge a line. Here each line loses them.
"""

import contextlib
import os
import sys
from typing import TextIO

from batchscope.engine.errors import printable

STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def say(*lines: str) -> None:
    """Print lines on stdout, without control characters.

    Raises:
        OSError: stdout cannot be written.
    """
    _print(lines, sys.stdout)


def complain(*lines: str) -> None:
    """Print lines on stderr, without control characters; nothing if it cannot be written."""
    try:
        _print(lines, sys.stderr)
    except OSError:
        discard(2)


def _print(lines: tuple[str, ...], stream: TextIO) -> None:
    print("".join(f"{printable(line)}\n" for line in lines), end="", file=stream, flush=True)


def discard(number: int) -> None:
    """Send the descriptor of a standard stream, and what the stream still buffers, nowhere."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, number)
        os.close(nowhere)


def settle() -> None:
    """Write what is still buffered, or drop it: an error in Python's own flush is a traceback."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            discard(number)


def open_closed() -> None:
    """Open the null device where a standard stream is closed.

    Otherwise the next file that is opened, perhaps a journal, gets its descriptor, and with it what
    is printed.
    """
    for number, name, mode in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

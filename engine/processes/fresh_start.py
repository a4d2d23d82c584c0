"""Starts a worker anew in place: the same process and descriptors, but a fresh interpreter.

A person's modules stay in an interpreter that has imported them, with whatever they changed there.
So each training of a task gets a new one. The orders that the worker has taken go along in a file
without a name.
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NoReturn

from batchscope.engine.processes import orders

FLAG = "--carried"


def start_afresh(
    events: int, taken: Sequence[orders.AnyOrder], environment: Mapping[str, str]
) -> NoReturn:
    """Replace the program of this process by a new worker.

    Args:
        events: the descriptor of the events; it becomes descriptor 1 of the new program.
        taken: orders that were read but not executed; the new program executes them first.
        environment: its environment, as it was before a person's code ran.

    Raises:
        OSError: the system refuses.
    """
    content = b"".join(orders.encode(each) + b"\n" for each in taken)
    carried = _nameless()
    left = memoryview(content)
    while left:
        left = left[os.write(carried, left) :]
    os.lseek(carried, 0, os.SEEK_SET)
    os.set_inheritable(carried, True)
    os.dup2(events, 1)
    command = [sys.executable, "-P", "-m", "batchscope.engine.worker", FLAG, str(carried)]
    os.execve(sys.executable, command, dict(environment))


def carried_orders(descriptor: int) -> list[orders.AnyOrder]:
    """Return the orders that the program before has taken, and close their file."""
    with open(descriptor, "rb") as file:
        return [orders.decode(line) for line in file]


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("orders")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

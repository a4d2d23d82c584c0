"""Hands a sweep's lock and log to a process that was started before there was the sweep.

The lock goes as a descriptor in a message of a Unix socket. The kernel keeps what it stands for
from the moment of sending, so the lock is held for a receiver that has not woken yet as well, and
until the last of those that have it is gone.
"""

import contextlib
import os
import shutil
import socket

READY = b"."


def hand_over(channel: socket.socket, lock: int, log: int) -> bool:
    """Send the descriptors of a sweep's lock and of a log; False where nobody is there to take."""
    try:
        return socket.send_fds(channel, [READY], [lock, log]) == len(READY)
    except OSError:
        return False


def adopt(channel: socket.socket) -> bool:
    """Say that one is ready, and wait for a sweep: from then on its lock is held, and its log used.

    Returns False where whoever was to send them is gone.
    """
    with contextlib.suppress(OSError):  # it was sent already, and nobody listens any more
        channel.send(READY)
    try:
        _, descriptors, *_ = socket.recv_fds(channel, len(READY), 2)
    except OSError:
        return False
    if len(descriptors) != 2:
        return False
    _, log = descriptors  # the lock stays open until the process ends
    speak_into(log)
    return True


def speak_into(log: int) -> None:
    """Point descriptors 1 and 2 at a log, with what went to a file on 2 before; `log` is closed."""
    with contextlib.suppress(OSError), open(os.dup(2), "rb") as before:
        before.seek(0)
        with open(log, "wb", closefd=False) as after:
            shutil.copyfileobj(before, after)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)

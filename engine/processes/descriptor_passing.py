"""Passes a sweep's lock and log to a process that was started before the sweep.

Both go as file descriptors over a Unix socket. The kernel holds the lock from the moment of
sending, even before the receiver reads the message, until the last process that has it ends.
"""

import contextlib
import os
import shutil
import socket

READY = b"."


def hand_over(channel: socket.socket, lock: int, log: int) -> bool:
    """Send the descriptors of a sweep's lock and log; return False if the receiver is gone."""
    try:
        return socket.send_fds(channel, [READY], [lock, log]) == len(READY)
    except OSError:
        return False


def adopt(channel: socket.socket) -> bool:
    """Report that this process is ready, then wait for a sweep's lock and log and use them.

    Returns:
        False if the sender is gone.
    """
    with contextlib.suppress(OSError):  # the descriptors may be there although the sender left
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
    """Redirect stdout and stderr to a log, and copy to it what stderr's file held; close `log`."""
    with contextlib.suppress(OSError), open(os.dup(2), "rb") as before:
        before.seek(0)
        with open(log, "wb", closefd=False) as after:
            shutil.copyfileobj(before, after)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)

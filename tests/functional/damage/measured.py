"""Runs a command as a child, and writes what it cost and how it ended as JSON.

    python -I -S measured.py OUT.json SECONDS COMMAND ...
    python -I -S measured.py OUT.json SECONDS --terminal COMMAND ...

A process of its own, and a small one: the kernel counts the memory of the process that starts a
child as the child's. With `--terminal` the command gets a terminal, which is written to stdout, and
the key `q` every second. After SECONDS everything that the command has started is killed.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pty
import resource
import signal
import struct
import sys
import termios
import time

SUBREAPER = 36
MOST_BYTES = 3 << 30
DRAWN_BYTES = 1500  # more than a screen sends before it shows anything
POLL_SECONDS = 0.02
CONDUCTOR = b"batchscope.engine.conductor"


def main() -> None:
    out, limit, *words = sys.argv[1:]
    # what the command leaves behind becomes a child of this process
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    terminal = -1
    if words[0] == "--terminal":
        words, (terminal, theirs) = words[1:], pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(terminal, False)
    began = time.monotonic()
    child = os.fork()
    if not child:
        if terminal >= 0:
            os.login_tty(theirs)
        # so that a mistake fills neither the memory nor the disk of this machine
        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
            resource.setrlimit(kind, (MOST_BYTES, MOST_BYTES))
        os.execv(words[0], words)
    if terminal >= 0:
        os.close(theirs)
    facts = watch(child, began + float(limit), terminal)
    facts["seconds"] = time.monotonic() - began
    with open(out, "w") as file:
        json.dump(facts, file)


def watch(child: int, deadline: float, terminal: int) -> dict[str, float]:
    """Wait for the end of a child; return what it cost, in seconds and KiB."""
    conductor_kib = drawn = blocked = 0.0
    last_use, last_moment, next_key = -1.0, time.monotonic(), 0.0
    hung = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        now = time.monotonic()
        if terminal >= 0:
            drawn += shown(terminal)
            if drawn > DRAWN_BYTES and now > next_key:
                next_key = now + 1.0
                with contextlib.suppress(OSError):
                    os.write(terminal, b"q")
        if done:
            break
        children = children_of(child)
        for each in children:
            if CONDUCTOR in words_of(each):
                conductor_kib = max(conductor_kib, peak_kib(each))
        use = sum(map(used, (child, *children)))
        if use != last_use:
            last_use, last_moment = use, now
        blocked = max(blocked, now - last_moment)
        if now > deadline:
            hung, deadline = True, now + 5.0
            os.kill(child, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    left = end_all()
    return {
        "code": os.waitstatus_to_exitcode(status),
        "cpu": usage.ru_utime + usage.ru_stime,
        "kib": usage.ru_maxrss,
        "conductor_kib": conductor_kib,
        "blocked": blocked,
        "hung": hung,
        "left": left,
    }


def shown(terminal: int) -> int:
    """Copy what a terminal shows to stdout; return the number of bytes."""
    count = 0
    with contextlib.suppress(OSError):  # nothing to read, or closed
        while data := os.read(terminal, 1 << 16):
            count += len(data)
            os.write(1, data)
    return count


def children_of(process: int) -> list[int]:
    """Return the children of a process; none once it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/task/{process}/children") as file:
        return [int(word) for word in file.read().split()]
    return []


def words_of(process: int) -> bytes:
    """Return the command line of a process; empty once it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as file:
        return file.read()
    return b""


def peak_kib(process: int) -> float:
    """Return the most memory that a process has held, in KiB; 0 once it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return float(line.split()[1])
    return 0.0


def used(process: int) -> float:
    """Return the processor time of a process in nanoseconds; 0 once it has ended."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{process}/schedstat") as file:
        return float(file.read().split()[0])
    return 0.0


def end_all() -> int:
    """Wait a moment for what the command has left, then kill it; return how many were killed."""
    killed, deadline = 0, time.monotonic() + 5.0
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    for each in children_of(os.getpid()):
                        killed += 1
                        os.kill(each, signal.SIGKILL)
                    deadline += 1.0
                time.sleep(POLL_SECONDS)
        except ChildProcessError:
            return killed


if __name__ == "__main__":
    main()

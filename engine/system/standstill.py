"""Waits for a child process as long as it makes progress, however slowly."""

import contextlib
import subprocess
import time
from typing import AnyStr

STILL_SECONDS = 60.0
LOOK_SECONDS = 2.0
KILL_SECONDS = 5.0


class StoodStill(Exception):
    """The child used no processor time for so long, or did not end in time; it was killed."""


def output_of(
    process: "subprocess.Popen[AnyStr]",
    still: float = STILL_SECONDS,
    most: float = float("inf"),
) -> tuple[AnyStr, AnyStr]:
    """Wait until a child has ended, and return what it wrote to stdout and stderr.

    Args:
        process: the child.
        still: the seconds without any use of the processor after which it is killed.
        most: the seconds after which it is killed in any case.

    Raises:
        StoodStill: it was killed; the text says why.
    """
    began = moved = time.monotonic()
    used = -1.0
    while True:
        try:
            return process.communicate(timeout=min(LOOK_SECONDS, still, most))
        except subprocess.TimeoutExpired:
            now, spent = time.monotonic(), _processor_seconds(process.pid)
        if spent != used:
            used, moved = spent, now
        why = ""
        if now - began >= most:
            why = f"did not end within {most:.0f} s"
        elif now - moved >= still:
            why = f"stood still for {still:.0f} s"
        if why:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may block it for ever
                process.communicate(timeout=KILL_SECONDS)
            raise StoodStill(why)


def _processor_seconds(pid: int) -> float:
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return 0.0
    return float(times.user + times.system)

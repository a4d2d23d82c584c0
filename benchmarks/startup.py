"""Measure the start of the program: `--help`, and the menu's first paint in a pseudo-terminal.

    python benchmarks/startup.py [--runs 11]

It prints medians in seconds, and the bare start of the same interpreter, measured alternately. It
needs the `dev` extra (pyte), and `batchscope` in the environment of this Python.
"""

import argparse
import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyte

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as in an installation, modules are compiled
COMMAND = str(Path(sys.executable).parent / "batchscope")
COLUMNS, ROWS = 80, 24
PAINTED_CELLS = 60
PATIENCE_SECONDS = 10.0


def seconds_of(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_paint(home: str) -> float:
    """Return the seconds until the menu shows at least `PAINTED_CELLS` cells that are not blank."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execv(COMMAND, [COMMAND, "--home", home])
    try:
        while time.perf_counter() - began < PATIENCE_SECONDS:
            if select.select([terminal], [], [], 0.1)[0]:
                stream.feed(os.read(terminal, 65536))
            if sum(not cell.isspace() for line in screen.display for cell in line) > PAINTED_CELLS:
                return time.perf_counter() - began
        raise TimeoutError("the menu did not appear")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--runs", type=int, default=11)
    runs = ask.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        cases: dict[str, Callable[[], float]] = {
            "python -c pass": lambda: seconds_of(sys.executable, "-c", "pass"),
            "batchscope --help": lambda: seconds_of(COMMAND, "--help"),
            "the menu's first paint": lambda: first_paint(home),
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for round_number in range(runs + 1):
            for name, measure in cases.items():
                seconds = measure()
                if round_number:  # the first round only fills the disk's cache
                    taken[name].append(seconds)
    print(f"{'':<24} median    min    max  (s, {runs} runs)")
    for name, values in taken.items():
        print(f"{name:<24} {statistics.median(values):6.3f} {min(values):6.3f} {max(values):6.3f}")


if __name__ == "__main__":
    main()

"""Measure how responsive a board is, and how many bytes it sends, during a sweep on all cores.

    python benchmarks/terminal.py [--seconds 20] [--json]

For two terminal sizes it measures the seconds to the first paint, bytes per second, the viewer's
share of a core, milliseconds from a key press to the first byte of the response, and resident
memory. It also measures the seconds to open a stored sweep of 200 trials with 2,000 epochs each.
The bars are the project's own limits. It needs the `dev` extra (pyte), a quiet machine, and
`batchscope` in the environment of this Python.
"""

import argparse
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import pyte
from long_sweep import write_long_sweep

from batchscope.engine.journal import column_cache

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as in an installation, modules are compiled
COMMAND = str(Path(sys.executable).parent / "batchscope")
PRESET = """
title = "Twelve trials on all cores"
seeds = 3
[data]
name = "digits"
[model]
name = "mlp"
hidden = [128, 64]
[train]
lr = 0.1
epochs = 5000
[grid]
batch_size = [16, 64, 256, 1024]
"""
KEYS = "\t\t\t\t\t\t\t21yYxlxxxxl"
BARS = {
    "first_paint_s": {"160x45": 0.5, "80x24": 0.5},
    "bytes_per_s": {"160x45": 5000.0, "80x24": 1500.0},
    "cpu_share": {"160x45": 0.05, "80x24": 0.05},
    "key_p95_ms": {"160x45": 30.0, "80x24": 30.0},
    "rss_mib": {"160x45": 100.0, "80x24": 100.0},
}
PAINTED_CELLS = 60
SETTLE_SECONDS, KEY_PATIENCE, PATIENCE_SECONDS = 6.0, 1.0, 20.0
Figures = dict[str, Any]


class Watched:
    """`batchscope` in a pseudo-terminal; its output is read as it comes."""

    def __init__(self, size: tuple[int, int], *arguments: str) -> None:
        columns, rows = size
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes, self.began = 0, time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
            os.execv(COMMAND, [COMMAND, *arguments])
        self.process = psutil.Process(self.pid)

    def read(self, seconds: float) -> bool:
        """Wait up to `seconds` for a piece of output; return whether any came."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return False
        data = os.read(self._fd, 65536)
        self.bytes += len(data)
        self._stream.feed(data)
        return True

    def read_for(self, seconds: float) -> None:
        """Read all output for `seconds`."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.read(end - time.perf_counter())

    def wait_for(self, *words: str) -> float:
        """Return the seconds from the start until the screen shows these words, or enough cells."""
        while time.perf_counter() - self.began < PATIENCE_SECONDS:
            self.read(0.01)
            text = "".join(self._screen.display)
            painted = sum(not cell.isspace() for cell in text) > PAINTED_CELLS
            if painted and all(word in text for word in words):
                return time.perf_counter() - self.began
        raise TimeoutError("\n".join(self._screen.display))

    def key_ms(self, key: str) -> float:
        """Press a key; return the milliseconds to the first byte of the response."""
        self.read_for(0.35)
        while self.read(0.02):
            pass
        began = time.perf_counter()
        os.write(self._fd, key.encode())
        answered = select.select([self._fd], [], [], KEY_PATIENCE)[0]
        return 1000 * (time.perf_counter() - began) if answered else 1000 * KEY_PATIENCE

    def end(self) -> None:
        """Kill the viewer; the sweep continues."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def live(size: tuple[int, int], seconds: float) -> Figures:
    """Measure a board on a sweep that trains on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        preset, home = Path(folder, "twelve.toml"), str(Path(folder, "home"))
        preset.write_text(PRESET)
        board = Watched(size, "--preset", str(preset), "--home", home)
        try:
            figures: Figures = {"first_paint_s": board.wait_for()}
            board.wait_for("running")
            board.read_for(SETTLE_SECONDS)
            before, spent = board.bytes, sum(board.process.cpu_times()[:2])
            board.read_for(seconds)
            figures["bytes_per_s"] = (board.bytes - before) / seconds
            figures["cpu_share"] = (sum(board.process.cpu_times()[:2]) - spent) / seconds
            times = [board.key_ms(key) for key in KEYS]
            figures["key_p50_ms"] = median(times)
            figures["key_p95_ms"] = quantiles(times, n=20)[-1]
            figures["rss_mib"] = board.process.memory_info().rss / 2**20
        finally:
            board.end()
            subprocess.run([COMMAND, "stop", "--all", "--home", home], capture_output=True)
        return figures


def opening(runs: int = 3) -> list[float]:
    """Return the seconds until the board shows the final figures of a long stored sweep."""
    with tempfile.TemporaryDirectory() as home:
        folder = write_long_sweep(Path(home), trials=200, epochs=2000)
        column_cache.write(folder)  # as the conductor does at the end
        taken = []
        for _ in range(runs):
            board = Watched((160, 45), "attach", folder.name, "--home", home)
            try:
                taken.append(board.wait_for("n=10", "finished"))
            finally:
                board.end()
        return taken


def show(size: str, figures: Figures) -> None:
    print(f"\nlive, {size}")
    for name, value in figures.items():
        bar = BARS.get(name, {}).get(size)
        limit = f"(bar {bar:g})" if bar else ""
        print(f"  {name:<14} {value:10.3f} {limit}")


def main(words: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--seconds", type=float, default=20.0)
    ask.add_argument("--json", action="store_true")
    asked = ask.parse_args(words)
    sizes = {"160x45": (160, 45), "80x24": (80, 24)}
    boards: dict[str, Figures] = {name: live(size, asked.seconds) for name, size in sizes.items()}
    taken = opening()
    if asked.json:
        print(json.dumps({"live": boards, "opening_s": taken}))
        return
    for name, figures in boards.items():
        show(name, figures)
    print("\nopening 200 trials × 2,000 epochs (bar 0.5)")
    print("  " + "  ".join(f"{seconds:.2f} s" for seconds in taken))


if __name__ == "__main__":
    main()

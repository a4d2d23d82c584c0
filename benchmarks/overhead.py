"""Measure the overhead of watching: the share of the cores' time of conductor and viewer.

    python benchmarks/overhead.py [--seconds 20] [--rounds 3]

A board of 160x45 in a pseudo-terminal shows twelve trials that train on all cores. The result is
the processor time of both processes (user and system), divided by the seconds times the number of
cores; the workers' share is printed too. The bar is 0.03. This needs the `dev` extra (pyte), and
`batchscope` in the environment of this Python.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from interleaving import judged, row
from terminal import COMMAND, PRESET, SETTLE_SECONDS, Watched

from batchscope.engine.devices.devices import cores
from batchscope.engine.sweeps.store import load_state, sweep_folders

SIZE = (160, 45)
BAR = 0.03
Shares = dict[str, float]


def processor_seconds(process: psutil.Process) -> float:
    """Return the user and system time of a process so far, in seconds."""
    return sum(process.cpu_times()[:2])


def shares(seconds: float) -> Shares:
    """Return the shares of the cores' time of viewer, conductor and workers during training."""
    with tempfile.TemporaryDirectory() as folder:
        preset, home = Path(folder, "twelve.toml"), Path(folder, "home")
        preset.write_text(PRESET)
        board = Watched(SIZE, "--preset", str(preset), "--home", str(home))
        try:
            board.wait_for("running")
            board.read_for(SETTLE_SECONDS)
            state = load_state(sweep_folders(home)[0])
            assert state.conductor is not None
            watched = {
                "viewer": [board.process],
                "conductor": [psutil.Process(state.conductor.pid)],
                "workers": [psutil.Process(one.pid) for one in state.workers.values()],
            }
            return _taken(board, watched, seconds)
        finally:
            board.end()
            subprocess.run([COMMAND, "stop", "--all", "--home", str(home)], capture_output=True)


def _taken(board: Watched, watched: dict[str, list[psutil.Process]], seconds: float) -> Shares:
    def so_far() -> Shares:
        return {name: sum(map(processor_seconds, some)) for name, some in watched.items()}

    began, before = time.perf_counter(), so_far()
    board.read_for(seconds)
    after, passed = so_far(), time.perf_counter() - began
    return {name: (after[name] - before[name]) / (passed * cores()) for name in watched}


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--seconds", type=float, default=20.0)
    ask.add_argument("--rounds", type=int, default=3)
    words = ask.parse_args()
    rounds = [shares(words.seconds) for _ in range(words.rounds)]
    widths = (12, 8, 8, 8)
    print(f"shares of the time of {cores()} cores, {words.rounds} rounds of {words.seconds:g} s")
    print(row(widths, ("", "median", "min", "max")))
    for name in rounds[0]:
        values = [usage[name] for usage in rounds]
        print(row(widths, (name, *(f"{f(values):.4f}" for f in (median, min, max)))))
    both = median(usage["viewer"] + usage["conductor"] for usage in rounds)
    print(
        judged(f"viewer and conductor at most {BAR:g} of the cores' time: {both:.4f}", both <= BAR)
    )


if __name__ == "__main__":
    main()

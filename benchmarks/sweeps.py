"""Compare whole presets: a sweep of batchscope, and a plain script for the same trials.

    python benchmarks/sweeps.py [--preset NAME ...] [--data-dir DIR] [--set KEY=VALUE ...]
                                [--full] [--runs 1] [--device cpu]

*Training* is the time from the first trial's start to the last one's end. For the script
(`script.py`) it is the time of all training and evaluation, with one torch thread or with all
cores, whichever is shorter. *Whole* is the time from the start of the process to its end, including
the import of torch; the data are prepared before. The results of both must be equal up to rounding:
the program prints the largest difference of any trial in final test loss and test accuracy. Times
are medians over the runs, which alternate.

All presets but quickstart are reduced to one epoch (without `--data-dir`, which MNIST needs, to ten
epochs of the digits), unless `--full` is given. quickstart may stack replicates here, which its own
settings rule out. Probes and claims are left out. The benchmark needs
`batchscope` in the environment of this Python, and a quiet machine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import tomli_w
from interleaving import judged, row
from script import Figures, Trained, beyond

from batchscope.engine.data.prepare import prepare
from batchscope.engine.devices.devices import cores
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.experiment.preset_catalog import find_preset, preset_files
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import TrialEnded, TrialStarted
from batchscope.engine.sweeps.store import load_state, sweep_folders

COMMAND = str(Path(sys.executable).parent / "batchscope")
SCRIPT = str(Path(__file__).parent / "script.py")
FIRST = "quickstart"
FASTER = {FIRST: 4.0}
WIDTHS = (16, 7, 9, 9, 13, 7, 9, 9, 9, 9)
HEADS = (
    *("preset", "trials", "ours, s", "script, s", "script / ours"),
    *("threads", "whole, s", "whole, s", "loss +-", "acc. +-"),
)


class Run(NamedTuple):
    """One run: the seconds of training and of the whole process, and the results."""

    training: float
    whole: float
    figures: dict[str, Figures]


class Lab(NamedTuple):
    """The folders and options with which presets run."""

    home: Path
    data_dir: str | None
    device: str

    def data(self) -> list[str]:
        """Return the data folder as an argument, if there is one."""
        return ["--data-dir", self.data_dir] if self.data_dir else []


def reduced(name: str, words: argparse.Namespace) -> list[str]:
    """Return the changes that reduce a preset."""
    assignments = list[str]()
    on_digits = not words.data_dir and find_preset(name).raw["data"]["name"] != "digits"
    if on_digits:
        assignments.append("data.name=digits")
    if name == FIRST:
        assignments.append("run.stack=auto")
    if name != FIRST and not words.full:
        assignments.append(f"train.epochs={10 if on_digits else 1}")
    return [*assignments, *words.set]


def written(name: str, assignments: Sequence[str], folder: Path) -> Path:
    """Write the preset to a file, without probes and claims."""
    raw: dict[str, Any] = dict(find_preset(name, assignments).raw)
    for table in ("probe", "claims"):
        raw.pop(table, None)
    path = folder / f"{name}.toml"
    path.write_bytes(tomli_w.dumps({"name": name, **raw}).encode())
    return path


def sweep(path: Path, lab: Lab) -> Run:
    """Run the preset with batchscope, headless."""
    with tempfile.TemporaryDirectory() as out:
        where = ["--home", str(lab.home), "--device", lab.device, *lab.data()]
        command = [COMMAND, "--preset", str(path), "--export", f"{out}/export", *where]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        whole = time.perf_counter() - began
    folder = sweep_folders(lab.home)[0]
    events = journal.Reader(folder / journal.NAME).read_all()
    first = min(event.at for event in events if isinstance(event, TrialStarted))
    last = max(event.at for event in events if isinstance(event, TrialEnded))
    figures = dict[str, Figures]()
    for trial in load_state(folder).trials.values():
        if trial.status == "finished" and trial.last and trial.last.test_loss is not None:
            figures[trial.id] = (trial.last.test_loss, trial.last.test_accuracy or 0.0)
    return Run(last - first, whole, figures)


def script(path: Path, lab: Lab, threads: int, trials: Sequence[str]) -> Run:
    """Run the same trials with the plain script."""
    where = [str(path), str(lab.home), str(threads), *([lab.data_dir] if lab.data_dir else [])]
    began = time.perf_counter()
    said = subprocess.run(
        [sys.executable, SCRIPT, *where],
        input=msgspec.json.encode(list(trials)),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    whole = time.perf_counter() - began
    trained = msgspec.json.decode(said, type=Trained)
    return Run(trained.seconds, whole, trained.figures)


def impossible(preset: Preset) -> str:
    """Return why the script cannot train this preset; empty if it can."""
    reasons = (beyond(configuration.settings) for configuration in preset.configurations)
    return next(filter(None, reasons), "")


def differences(one: Run, other: Run) -> Figures:
    """Return the largest difference of any trial, in loss and in accuracy."""
    pairs = [(one.figures[trial], other.figures[trial]) for trial in one.figures]
    losses, accuracies = ([abs(a[at] - b[at]) for a, b in pairs] for at in (0, 1))
    return max(losses), max(accuracies)


def compare(name: str, path: Path, lab: Lab, runs: int) -> tuple[float, str]:
    """Return how many times as long the script's training takes, and a line that says so."""
    ours, theirs = list[Run](), {threads: list[Run]() for threads in {1, cores()}}
    for _ in range(runs):
        ours.append(sweep(path, lab))
        for threads, series in theirs.items():
            series.append(script(path, lab, threads, list(ours[0].figures)))
    threads = min(theirs, key=lambda count: median(run.training for run in theirs[count]))
    other = theirs[threads]
    mine, plain = (median(run.training for run in series) for series in (ours, other))
    whole = [median(run.whole for run in series) for series in (ours, other)]
    loss, accuracy = differences(ours[0], other[0])
    shown = (
        *(name, len(ours[0].figures), f"{mine:.2f}", f"{plain:.2f}", f"{plain / mine:.2f}"),
        *(threads, *(f"{seconds:.2f}" for seconds in whole), f"{loss:.1e}", f"{accuracy:.1e}"),
    )
    return plain / mine, row(WIDTHS, shown)


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--preset", action="append", choices=sorted(preset_files()))
    ask.add_argument("--data-dir")
    ask.add_argument("--set", action="append", default=[])
    ask.add_argument("--full", action="store_true")
    ask.add_argument("--runs", type=int, default=1)
    ask.add_argument("--device", default="cpu")
    words = ask.parse_args()
    names = words.preset or sorted(preset_files(), key=lambda name: name != FIRST)
    gains = dict[str, float]()
    print(f"{cores()} cores; whole: ours, then the script's")
    print(row(WIDTHS, HEADS))
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder, "home"), words.data_dir, words.device)
        for name in names:
            path = written(name, reduced(name, words), Path(folder))
            preset = load_preset(path)
            if why := impossible(preset):
                print(f"{name}: left out: {why}")
                continue
            for data in {one.settings.data.name for one in preset.configurations}:
                prepare(data, lab.home, Path(words.data_dir) if words.data_dir else None)
            gains[name], line = compare(name, path, lab, words.runs)
            print(line, flush=True)
    for name, gain in gains.items():
        bar = FASTER.get(name, 1.0)
        if name in FASTER or gain < bar:
            verdict = f"{name}: the script takes at least {bar:g} x as long: {gain:.2f}"
            print(judged(verdict, gain >= bar))
    if len(gains) > 1:
        print(judged("no preset slower than the script", min(gains.values()) >= 1.0))


if __name__ == "__main__":
    main()

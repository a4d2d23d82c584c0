"""Breaks a real sweep at random moments until it has finished, and compares its results.

A crash kills or freezes processes, closes the terminal, fills the disk for a while, or removes
unsynced lines from the journal. Damage, if enabled, also cuts or changes a file anywhere. A viewer
shows the real board in a real terminal all the time.
"""

import contextlib
import csv
import io
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.store import Launch, conductor_lives, create_sweep
from tests.functional.disks import FILLER, fill
from tests.functional.watcher import Watcher

PRESET = """
title = "To be broken off"
seeds = {seeds}
[data]
name = "digits"
[model]
name = "mlp"
hidden = [16]
[train]
lr = 0.01
epochs = {epochs}
[probe]
at = [0.3, 1]
draws = 30
[memory]
micro_batch_size = 200
[[cells]]
batch_size = 32
optimizer = "adam"
[[cells]]
batch_size = 60
optimizer = "momentum"
model.batch_norm = true
[[cells]]
batch_size = 48
sampling = "with-replacement"
"""
TABLES = ("trials.csv", "epochs.csv", "gradient_norms.csv", "probes.csv")
OTHERWISE = {
    *("epoch_seconds", "samples_per_second", "peak_memory_bytes", "attempt", "seconds"),
    "warm_up_seconds",
}
"""Columns about the machine and its crashes, which may differ."""
SILENCE_SECONDS = 3.0
PATIENCE_SECONDS = 600.0
BOARD_BYTES = 1500  # more than a screen sends before it shows anything
LONGEST_FULL_SECONDS = 8.0
TRAINING_SHARE = 0.8  # the share of faults that wait until a trial trains

Table = list[dict[str, str]]


def tables(export: Path, names: Iterable[str] = TABLES) -> dict[str, Table]:
    """Return the tables of an export, without the columns that may differ."""
    found = {}
    for name in names:
        rows = csv.DictReader(io.StringIO((export / name).read_text("utf-8"), newline=""))
        found[name] = [{k: v for k, v in row.items() if k not in OTHERWISE} for row in rows]
    return found


def create(home: Path, preset: Path) -> Path:
    """Create a sweep for two workers; return its folder."""
    for name in ("sweeps", "data"):
        (home / name).mkdir(parents=True, exist_ok=True)
    launch = Launch(preset="crash", device="cpu", workers=2, silence_seconds=SILENCE_SECONDS)
    return create_sweep(home, load_preset(preset), launch)


def undisturbed(root: Path, epochs: int, seeds: int) -> Path:
    """Run the sweep without faults; return its export (`sweep.toml` in it has the plans)."""
    preset = root / "crash.toml"
    preset.write_text(PRESET.format(epochs=epochs, seeds=seeds))
    folder = create(root / "home", preset)
    start_conductor(folder)
    wait(lambda: not conductor_lives(folder), "the undisturbed sweep has ended")
    write_export(folder, root / "undisturbed", report=False)
    return root / "undisturbed"


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@dataclass
class Tally:
    """The faults of a sweep, and their consequences as its journal records them."""

    faults: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    begun_again: int = 0
    lost_epochs: int = 0
    run_twice: int = 0
    same: bool = False


class Campaign:
    """One sweep that is broken by random faults and resumed until it has finished."""

    def __init__(
        self, home: Path, preset: Path, seed: int, damage: bool = False, full: bool = False
    ) -> None:
        self.folder, self.damage, self.full = create(home, preset), damage, full
        self.random, self.tally = random.Random(seed), Tally()
        self._frozen: list[tuple[float, int]] = []
        self._full_until = 0.0
        self._watcher: Watcher | None = None

    def run(self, most: int, longest: float = 3.0) -> Tally:
        """Break the sweep `most` times, at moments up to `longest` seconds apart."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._finished():
            assert time.monotonic() < deadline, self.folder
            if not conductor_lives(self.folder):
                self._between_runs(most)
                self._start()
            if self._done_so_far() >= most:
                self._sleep(0.2)
                continue
            if self.random.random() < TRAINING_SHARE:
                self._let_train()
            self._sleep(self.random.uniform(0.0, longest))
            if conductor_lives(self.folder):
                self._fault()
        self._thaw(everyone=True)
        self._judge()
        return self.tally

    def close(self) -> None:
        """End all processes of the sweep that still run."""
        if self._watcher:
            self._unwatch("viewer")
        self._thaw(everyone=True)
        self._make_room(at_once=True)
        conductor, workers = self._processes()
        kill(*workers, *([conductor] if conductor else []))

    def state(self) -> SweepState:
        return SweepState().fold(journal.Reader(self.folder / journal.NAME).read_all())

    def _let_train(self) -> None:
        """Wait until a trial trains or the conductor has ended."""
        while conductor_lives(self.folder) and not self.state().count("running"):
            self._sleep(0.1)

    def _start(self) -> None:
        with contextlib.suppress(Problem, OSError):  # killed while it started, or the disk is full
            start_conductor(self.folder)
        self._watch()

    def _done_so_far(self) -> int:
        return self.tally.faults.total()

    def _finished(self) -> bool:
        if conductor_lives(self.folder) or not (self.folder / journal.NAME).exists():
            return False
        trials = self.state().trials.values()
        assert not any(trial.status == "failed" for trial in trials), self.folder
        return bool(trials) and all(trial.done for trial in trials)

    def _fault(self) -> None:
        conductor, workers = self._processes()
        kinds = ["worker", "worker", "conductor", "both", "all", "frozen", "frozen and conductor"]
        kinds += ["conductor frozen", "viewer", "hangup", *["disk full"] * self.full]
        kind = self.random.choice(kinds)
        if conductor is None or (not workers and kind != "conductor"):
            return
        if kind in ("viewer", "hangup", "all") and not self._board_is_up():
            return
        some = self.random.choice(workers) if workers else 0
        self.tally.faults[kind] += 1
        match kind:
            case "worker":
                kill(some)
            case "conductor":
                kill(conductor)
            case "both":
                kill(conductor, some)
            case "all":
                kill(conductor, *workers)
                self._unwatch("viewer")
            case "viewer" | "hangup":
                self._unwatch(kind)
            case "conductor frozen":
                self._freeze(conductor, self.random.uniform(0.1, 2 * SILENCE_SECONDS))
            case "disk full":
                fill(self.folder.parent.parent)
                longest = LONGEST_FULL_SECONDS
                self._full_until = time.monotonic() + self.random.uniform(0.5, longest)
            case "frozen":
                self._freeze(some, self.random.uniform(0.1, 2 * SILENCE_SECONDS))
            case "frozen and conductor":
                self._freeze(some, self.random.uniform(0.5, 3.0))
                kill(conductor)
        if kind in ("conductor", "both", "all", "frozen and conductor"):
            wait(lambda: not conductor_lives(self.folder), "nobody holds the sweep")

    def _processes(self) -> tuple[int | None, list[int]]:
        """Return the process ids of the sweep's conductor (None without one) and workers."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "batchscope.engine.conductor" in words and str(self.folder) in words:
                with contextlib.suppress(psutil.Error):
                    workers = [
                        child.pid
                        for child in process.children()
                        if "batchscope.engine.worker" in child.cmdline()
                    ]
                    return process.pid, workers
        return None, []

    def _watch(self) -> None:
        """Start a viewer on the board, if none runs."""
        if self._watcher is None or not self._watcher.look():
            self._watcher = Watcher(self.folder)

    def _board_is_up(self) -> bool:
        """Start a viewer if needed; return whether it has drawn the board."""
        self._watch()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._watcher and self._watcher.look() and time.monotonic() < deadline:
            if self._watcher.drawn > BOARD_BYTES:
                return True
            self._sleep(0.05)
        return False

    def _unwatch(self, how: str) -> None:
        assert self._watcher
        if how == "hangup":
            self._watcher.hang_up()
        else:
            self._watcher.kill()
        self._watcher = None

    def _make_room(self, at_once: bool = False) -> None:
        if self._full_until and (at_once or time.monotonic() >= self._full_until):
            self._full_until = 0.0
            (self.folder.parent.parent / FILLER).unlink(missing_ok=True)

    def _freeze(self, worker: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGSTOP)
            self._frozen.append((time.monotonic() + seconds, worker))

    def _thaw(self, everyone: bool = False) -> None:
        for moment, worker in list(self._frozen):
            if everyone or time.monotonic() >= moment:
                self._frozen.remove((moment, worker))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGCONT)

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._thaw()
            self._make_room()
            if self._watcher:
                self._watcher.look()
            time.sleep(0.02)

    def _between_runs(self, most: int) -> None:
        """Cut the journal or damage a checkpoint at random, while no conductor runs."""
        self._thaw()
        self._make_room()
        if self._done_so_far() >= most or not (self.folder / journal.NAME).exists():
            return
        if self.random.random() < 0.5:
            self._tear(self.folder / journal.NAME)
        if self.damage and self.random.random() < 0.7:
            found = list((self.folder / checkpoints.TRIALS).glob(f"*/{checkpoints.CURRENT}"))
            if found:
                self._damage(self.random.choice(sorted(found)))

    def _tear(self, path: Path) -> None:
        """Cut the journal at random after its last synced line, as a power failure may."""
        content = path.read_bytes()
        durable = end = 0
        for line in content.splitlines(keepends=True):
            end += len(line)
            with contextlib.suppress(Exception):
                synced = ev.EpochsFinished | ev.Planned | ev.TrialEnded | ev.Probed | ev.SweepOpened
                if isinstance(journal.decode(line), synced):
                    durable = end
        if durable and len(content) > durable:
            self.tally.faults["journal torn"] += 1
            os.truncate(path, self.random.randint(durable, len(content)))

    def _damage(self, path: Path) -> None:
        self.tally.faults["checkpoint damaged"] += 1
        content = bytearray(path.read_bytes())
        index = self.random.randrange(len(content))
        if self.random.random() < 0.5:
            path.write_bytes(content[:index])
        else:
            content[index] ^= 1 << self.random.randrange(8)
            path.write_bytes(content)

    def _judge(self) -> None:
        """Count in the journal what the crashes have cost."""
        state = SweepState()
        for event in journal.Reader(self.folder / journal.NAME).read_all():
            if isinstance(event, ev.TrialStarted):
                trial = state.trials[event.trial]
                self.tally.run_twice += trial.done
                if event.attempt > trial.attempt:
                    kept = event.resumed_epochs if event.resumed_steps is not None else 0
                    self.tally.lost_epochs += max(0, len(trial.records) - kept)
                    if trial.attempt:
                        self.tally.resumed += event.resumed_steps is not None
                        self.tally.begun_again += event.resumed_steps is None
            state.apply(event)


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def campaigns(
    root: Path,
    reference: Path,
    seeds: Iterator[int] | list[int],
    most: int,
    damage: bool,
    full: bool = False,
) -> Iterator[Tally]:
    """Break the sweep of an export once for each seed, and compare the results with it."""
    expected = tables(reference)
    for seed in seeds:
        campaign = Campaign(root / "broken", reference / "sweep.toml", seed, damage, full)
        try:
            tally = campaign.run(most)
        finally:
            campaign.close()
        export = root / f"export-{seed}"
        write_export(campaign.folder, export, report=False)
        tally.same = tables(export) == expected
        yield tally

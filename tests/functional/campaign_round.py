"""One sweep under faults of every kind, from its launch to its export."""

import contextlib
import functools
import os
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.prewarm import Standby
from batchscope.engine.sweeps.store import Launch, conductor_lives, create_sweep
from tests.functional import starvation
from tests.functional.campaign_presets import TIMED, preset_of
from tests.functional.campaign_processes import Found, of_kind, processes
from tests.functional.crash_campaign import tables
from tests.functional.watcher import COMMAND, Watcher

SILENCE_SECONDS = 3.0
"""How long a worker may be silent, so that a frozen one is replaced within the campaign."""
UNEXPLAINED_SECONDS = 60.0
SWEEP_SECONDS = 400.0
LONGEST_SECONDS = 8.0
MEASURED = "memory.csv"
"""The table that is about the machine alone."""
RARE = 4
"""How much more often than others a preparer or a rank is chosen while it lives."""

Rows = dict[str, list[str]]


@dataclass
class Tally:
    """What was done to which kind of process, and what became of it."""

    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    died: Counter[tuple[str, str]] = field(default_factory=Counter)
    sweeps: Counter[str] = field(default_factory=Counter)
    ended_early: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return the table of kinds and ways: faults, and how many of the processes died."""
        kinds = sorted({kind for kind, _ in self.faults})
        head = "| process | " + " | ".join(starvation.WAYS) + " |"
        rows = [head, "| --- |" + " --- |" * len(starvation.WAYS)]
        for kind in kinds:
            cells = [
                f"{self.faults[kind, way]} ({self.died[kind, way]} died)"
                if self.faults[kind, way]
                else ""
                for way in starvation.WAYS
            ]
            rows.append(f"| {kind} | " + " | ".join(cells) + " |")
        return [*rows, f"{self.faults.total()} faults, sweeps: {dict(self.sweeps)}"]


class Failure(AssertionError):
    """Something was lost, done twice, left over, or waited for without a word."""


def create(home: Path, preset: Path, name: str) -> Path:
    """Create a sweep for two workers in a home; return its folder."""
    for each in (home, home / "sweeps", home / "data"):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    launch = Launch(
        preset=name,
        device="cpu",
        workers=2,
        silence_seconds=SILENCE_SECONDS,
        memory_limit=(1 << 30) if name == "limited" else None,
    )
    return create_sweep(home, load_preset(preset), launch)


@functools.cache
def reference(root: Path, name: str) -> tuple[Path, Rows]:
    """Run a preset without faults, once; return its `sweep.toml` with plans, and its tables."""
    place = root / "reference" / name
    place.mkdir(parents=True)
    folder = create(place / "home", preset_of(name, place), name)
    start_conductor(folder)
    deadline = time.monotonic() + SWEEP_SECONDS
    while conductor_lives(folder):
        if time.monotonic() > deadline:
            raise Failure(f"{name} did not end without faults")
        time.sleep(0.05)
    write_export(folder, place / "export", report=False)
    return place / "export" / "sweep.toml", rows(place / "export")


def rows(export: Path) -> Rows:
    """Return the rows of the tables in an order that no fault changes."""
    names = [path.name for path in export.glob("*.csv") if path.name != MEASURED]
    return {
        name: sorted(str({k: v for k, v in row.items() if "seconds" not in k}) for row in each)
        for name, each in tables(export, names).items()
    }


class Round:
    """One sweep, from its launch to its export, under faults.

    Args:
        root: a folder for the round.
        name: the preset.
        most: the number of faults.
        chance: the source of all choices.
        mark: the mark of the processes.
        tally: counts.
    """

    def __init__(
        self, root: Path, name: str, most: int, chance: random.Random, mark: str, tally: Tally
    ) -> None:
        self._root, self._name, self._most, self._chance = root, name, most, chance
        self._mark, self._tally = mark, tally
        self._toml, self._expected = reference(root.parent, name)
        self._folder = create(root / "home", self._toml, name)
        self._victim: tuple[float, Found, str] | None = None
        self._watcher: Watcher | None = None
        self._ways = [
            way
            for way in starvation.WAYS
            if (way != "shm" or starvation.has_small_shm())
            and (way != "processes" or os.geteuid() != 0)
        ]
        self._reader = journal.Reader(self._folder / journal.NAME, without=("memory",))
        self._heard_at, self._done = time.monotonic(), 0

    def run(self) -> None:
        """Run the round; raise `Failure` if anything is wrong."""
        deadline = time.monotonic() + SWEEP_SECONDS
        self._launch()
        while not self._finished():
            if time.monotonic() > deadline:
                raise Failure("the sweep did not end")
            if not conductor_lives(self._folder):
                self._lift()
                with contextlib.suppress(Problem):
                    start_conductor(self._folder)
                self._heard_at = time.monotonic()
            if self._done >= self._most:
                self._sleep(0.1)
                continue
            self._await_moment()
            self._fault(*self._kinds())
        self._lift()
        self._examine()
        self._export()
        self._nobody_is_left()
        self._judge()

    def close(self) -> None:
        """End all processes of the round."""
        self._lift()
        self._unwatch()
        for each in processes(self._mark):
            starvation.kill(each.pid, self._chance)

    # ---- the sweep

    def _launch(self) -> None:
        """Launch the sweep, cold or by a conductor on standby, which may be disturbed."""
        standby = Standby("cpu", 2) if self._chance.random() < 0.3 else None
        if standby is None:
            start_conductor(self._folder)
        else:
            standby.touch()
            self._sleep(self._chance.uniform(0.5, 6.0))
            self._fault("standby", "worker")
            self._sleep(self._chance.uniform(0.0, 1.0))
            with contextlib.suppress(Problem):
                standby.conduct(self._folder)
            standby.end()
        self._heard_at = time.monotonic()
        self._watcher = Watcher(self._folder)
        if self._chance.random() < 0.4:
            self._soon("preparer")

    def _finished(self) -> bool:
        if conductor_lives(self._folder) or not (self._folder / journal.NAME).exists():
            return False
        state = self._state()
        for trial in state.trials.values():
            if trial.status == "failed":
                raise Failure(f"{trial.id} failed: {trial.reason}")
        if state.ended and state.ended.state == "failed":
            self._tally.ended_early[state.ended.reason] += 1
        whole = bool(state.trials) and all(trial.done for trial in state.trials.values())
        return whole and state.ended is not None and state.ended.state == "finished"

    def _state(self) -> SweepState:
        return SweepState().fold(journal.Reader(self._folder / journal.NAME).read_all())

    def _await_moment(self) -> None:
        """Wait until a trial trains, most of the time; then for a random while."""
        if self._chance.random() < 0.7:
            while conductor_lives(self._folder) and not self._state().count("running"):
                self._sleep(0.1)
        self._sleep(self._chance.uniform(0.0, 2.0))

    def _kinds(self) -> tuple[str, ...]:
        """Return the kind of process that is disturbed next."""
        alive = {each.kind for each in processes(self._mark)} & {
            *("viewer", "conductor", "standby", "worker", "rank", "preparer")
        }
        weighted = [
            k for k in sorted(alive) for _ in range(RARE if k in ("preparer", "rank") else 1)
        ]
        return (self._chance.choice(weighted),) if weighted else ()

    # ---- faults

    def _soon(self, kind: str, seconds: float = 10.0) -> None:
        """Disturb a process that lives only for a moment, at some moment of its life."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if of_kind(self._mark, kind):
                time.sleep(self._chance.uniform(0.0, 1.2))
                self._fault(kind)
                return
            time.sleep(0.01)

    def _fault(self, *kinds: str) -> None:
        found = of_kind(self._mark, *kinds)
        if not found:
            return
        self._lift()
        victim, way = self._chance.choice(found), self._chance.choice(self._ways)
        kind = victim.kind
        if kind == "standby" and (self._folder / journal.NAME).exists():
            kind = "conductor"  # it runs the sweep by now
        seconds = self._chance.uniform(0.3, LONGEST_SECONDS)
        print(f"    {kind} {victim.pid}: {way}, {seconds:.1f} s", flush=True)
        self._tally.faults[kind, way] += 1
        self._done += 1
        starvation.WAYS[way](victim.pid, self._chance)
        self._victim = time.monotonic() + seconds, victim._replace(kind=kind), way
        if way == "kill":
            self._sleep(0.2)
            self._lift()

    def _lift(self, due: float = float("inf")) -> None:
        """End the fault of the moment, if it is due."""
        if self._victim is None or due < self._victim[0]:
            return
        _, victim, way = self._victim
        self._victim = None
        alive = processes(self._mark)
        self._tally.died[victim.kind, way] += victim.pid not in [each.pid for each in alive]
        for each in alive:  # children have inherited what was taken
            starvation.lift(each.pid)
        starvation.lift(victim.pid)
        self._heard_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._lift(time.monotonic())
            if self._watcher and not self._watcher.look() and conductor_lives(self._folder):
                self._unwatch()
                self._watcher = Watcher(self._folder)
            self._hear()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.02)

    def _hear(self) -> None:
        """Check that the sweep has said something within the last minute, or says why not."""
        now = time.monotonic()
        if self._reader.read() or notice.read(self._folder) or self._victim is not None:
            self._heard_at = now
        if conductor_lives(self._folder) and now - self._heard_at > UNEXPLAINED_SECONDS:
            raise Failure("the sweep was silent for more than a minute")

    def _unwatch(self) -> None:
        if self._watcher:
            watcher, self._watcher = self._watcher, None
            watcher.kill()

    # ---- afterwards

    def _command(self, *words: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        home = str(self._root / "home")
        return subprocess.Popen(
            [COMMAND, *words, "--home", home], stdout=pipe, stderr=pipe, text=True
        )

    def _outcome(self, process: "subprocess.Popen[str]", kind: str) -> tuple[int, str]:
        """Disturb a child of a command; return the command's exit code and errors."""
        if self._chance.random() < 0.5:
            self._soon(kind)
        began = time.monotonic()
        while process.poll() is None:
            self._lift(time.monotonic())
            if time.monotonic() - began > 2 * UNEXPLAINED_SECONDS:
                process.kill()
                raise Failure(f"the command with the {kind} did not end")
            time.sleep(0.05)
        self._lift()
        _, errors = process.communicate()
        if "Traceback" in errors:
            raise Failure(errors)
        return process.returncode, errors

    def _examine(self) -> None:
        if self._chance.random() < 0.3:
            self._outcome(self._command("doctor"), "probe")

    def _export(self) -> None:
        if self._chance.random() > 0.5:
            return
        target = self._root / "reported"
        words = ("--export", str(target), "--sweep", self._folder.name)
        code, errors = self._outcome(self._command(*words), "report")
        if not (target / "trials.csv").is_file():
            raise Failure(f"no tables were exported: {errors}")
        if (code == 0) != (target / "report.html").is_file():
            raise Failure(f"exit code {code}, but the report says otherwise: {errors}")
        if code and "report could not be drawn" not in errors:
            raise Failure(f"no word about the report: {errors}")

    def _nobody_is_left(self) -> None:
        self._unwatch()
        deadline = time.monotonic() + 20.0
        while left := processes(self._mark):
            if time.monotonic() > deadline:
                raise Failure(f"left over: {left}")
            time.sleep(0.1)

    def _judge(self) -> None:
        """Check the journal and the tables."""
        reader, state = journal.Reader(self._folder / journal.NAME), SweepState()
        ended = Counter[str]()
        for event in reader.read_all():
            if isinstance(event, ev.TrialStarted) and state.trials[event.trial].done:
                raise Failure(f"{event.trial} was trained twice")
            if isinstance(event, ev.TrialEnded) and event.status in ("finished", "diverged"):
                ended[event.trial] += 1
            state.apply(event)
        twice = [name for name, count in ended.items() if count > 1]
        if reader.damaged or twice:
            raise Failure(f"{reader.damaged} damaged lines, ended twice: {twice}")
        for trial in state.trials.values():
            epochs = [record.epoch for record in trial.records]
            if epochs != sorted(set(epochs)):
                raise Failure(f"{trial.id} has epochs twice: {epochs}")
        write_export(self._folder, self._root / "export", report=False)
        self._tally.sweeps["ended"] += 1
        if self._name in TIMED:
            return
        if any(trial.cuts for trial in state.trials.values()):
            self._tally.sweeps["with less memory"] += 1
            return
        found = rows(self._root / "export")
        if found.keys() != self._expected.keys():
            raise Failure(f"the tables are {sorted(found)}, not {sorted(self._expected)}")
        for name, expected in self._expected.items():
            if found[name] != expected:
                odd = sorted(set(expected) ^ set(found[name]))[:2]
                raise Failure(f"{name} differs: {odd}")
        self._tally.sweeps["with the same bits"] += 1

"""Runs the real command, with real conductors and workers, in a separate home."""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchscope.engine.data.prepare import prepare
from batchscope.engine.devices.devices import choose_devices
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent, ConductorStarted
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.store import conductor_lives

COMMAND = str(Path(sys.executable).with_name("batchscope"))
SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"
PATIENCE_SECONDS = 150.0
CONTRACT = {
    "trials.csv": "trial,status,batch_size,micro_batch_size,accumulation_steps,seed,dataset,model,"
    "optimizer,lr,scaling_rule,epochs,steps,samples,train_loss,train_accuracy,test_loss,"
    "test_accuracy,best_test_accuracy,generalization_gap,epoch_seconds,samples_per_second,"
    "peak_memory_bytes,init_norm,distance_from_init,noise_scale",
    "epochs.csv": "trial,batch_size,seed,epoch,steps,samples,lr,train_loss,train_accuracy,"
    "test_loss,test_accuracy,generalization_gap,epoch_seconds,samples_per_second,grad_norm_mean,"
    "grad_norm_std,grad_norm_cv,distance_from_init,weight_norm,noise_scale,peak_memory_bytes",
    "gradient_norms.csv": "trial,batch_size,seed,epoch,bin_left,bin_right,count",
    "layer_norms.csv": "trial,batch_size,seed,epoch,steps,layer,parameters,layer_draws,"
    "layer_norm_mean,layer_norm_cv,layer_norm_share",
    "memory.csv": "device,model,batch_size,micro_batch_size,peak_memory_bytes,samples_per_second,"
    "fits,chosen,reason",
}
"""The first columns of each table, which later versions must keep."""

needs_mnist = pytest.mark.skipif(
    not (SHARED_DATA / "MNIST" / "raw").is_dir(),
    reason=f"the real MNIST images are not there ({SHARED_DATA})",
)
needs_no_gpu = pytest.mark.skipif(
    choose_devices("auto")[0].handle is not None, reason="this machine has a GPU"
)


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a call of the command."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The error message of a failed call, after checking that it is a single line."""
        assert self.out == ""
        assert self.err.startswith("batchscope: ")
        assert self.err.endswith("\n")
        line = self.err.removeprefix("batchscope: ").removesuffix("\n")
        assert line.isprintable(), line
        return line


def _kill_conductor(folder: Path) -> bool:
    """Kill the conductor of a sweep; return whether one ran.

    A new conductor is not killed until the journal has its process id.
    """
    lived = conductor_lives(folder)
    if lived:
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(conductor_of(folder), signal.SIGKILL)
    return lived


class Lab:
    """A home, a current folder, and the processes started in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.cwd = root, root / "home", root / "cwd"
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.reports = False
        """Whether exports get a report: few tests need one, and it takes seconds."""
        self.bare = False
        """Whether a run prepares the digits itself, which takes a second of processor time."""
        self._started: list[subprocess.Popen[str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        """Return this process's environment, with the lab's home and without proxies."""
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return {**kept, "BATCHSCOPE_HOME": str(self.home), **more}

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the command in a new session, without a terminal."""
        plain = [] if self.reports or "--export" not in words else ["--no-report"]
        if "--export" in words and not (self.bare or self.home.exists()):
            self._have_digits()
        process = subprocess.Popen(
            [COMMAND, *words, *plain],
            cwd=self.cwd,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def _have_digits(self) -> None:
        for folder in (self.home, self.home / "data"):
            folder.mkdir(mode=0o700, parents=True)
        shutil.copytree(prepared_digits(), self.home / "data" / prepared_digits().name)

    def run(self, *words: str, **environment: str) -> Outcome:
        """Run the command to its end."""
        return ended(self.start(*words, **environment))

    def listed(self) -> list[dict[str, Any]]:
        """Return the output of `list --json`."""
        outcome = self.run("list", "--json")
        assert outcome.code == 0, outcome.err
        found: list[dict[str, Any]] = json.loads(outcome.out)
        return found

    def folders(self) -> list[Path]:
        """Return the folders of the sweeps in this home, oldest first; none that is being made."""
        return sorted((self.home / "sweeps").glob("[!.]*"))

    def only_folder(self) -> Path:
        """Wait until there is one sweep, and return its folder."""
        until(lambda: len(self.folders()) == 1, "a sweep was created")
        return self.folders()[0]

    def close(self) -> None:
        """End the processes that still run: followers and conductors, which end their workers."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for folder in self.folders():
            until(lambda folder=folder: not _kill_conductor(folder), "the sweep was ended")  # type: ignore[misc]


def ended(process: "subprocess.Popen[str]") -> Outcome:
    """Wait for a process to end; return its outcome."""
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return Outcome(process.returncode, out, err)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` returns true; fail after `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.03)


def events_of(folder: Path) -> list[AnyEvent]:
    """Return all events of the journal of a sweep or export; fail if a line is damaged."""
    reader = journal.Reader(folder / journal.NAME)
    events = reader.read_all()
    assert reader.damaged == 0
    return events


def state_of(folder: Path) -> SweepState:
    """Return the state that a sweep's journal folds to."""
    return SweepState().fold(events_of(folder))


def conductor_of(folder: Path) -> int:
    """Return the process id of a sweep's last conductor."""
    return [event.pid for event in events_of(folder) if isinstance(event, ConductorStarted)][-1]


def sets(*assignments: str) -> list[str]:
    """Return the arguments of the command line for these assignments with `--set`."""
    return [word for assignment in assignments for word in ("--set", assignment)]


SMALL = sets(
    *("seeds=2", "train.epochs=2", "grid.batch_size=[64, 512]"),
    *("memory.micro_batch_size=40", "run.stack=never"),
)
"""quickstart with four short trials: a run takes little longer than its start."""


@dataclass(frozen=True)
class Recorded:
    """A finished real run of a small quickstart, to read or copy; tests must not change it."""

    lab: Lab
    export: Path
    outcome: Outcome

    @property
    def folder(self) -> Path:
        return self.lab.only_folder()


@functools.cache
def recorded() -> Recorded:
    """Run a small quickstart once for all tests of this session that need a finished run."""
    root = Path(tempfile.mkdtemp(prefix="batchscope-test-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    lab = Lab(root)
    lab.bare = True
    export = root / "export"
    words = ["--export", str(export), "--preset", "quickstart", *SMALL, "--workers", "2"]
    outcome = lab.run(*words, "--json", "--log-format", "json")
    assert outcome.code == 0, outcome.err
    return Recorded(lab, export, outcome)


@functools.cache
def prepared_digits() -> Path:
    """Prepare the digits once for all tests of this session; return their folder."""
    root = Path(tempfile.mkdtemp(prefix="batchscope-digits-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return Path(prepare("digits", root).folder)


@contextlib.contextmanager
def a_lab(root: Path) -> Iterator[Lab]:
    """Yield a lab, and end its processes afterwards."""
    lab = Lab(root)
    try:
        yield lab
    finally:
        lab.close()


def copy_of_recorded(root: Path) -> Lab:
    """Return a lab with a copy of the recorded sweep in its home."""
    lab = Lab(root)
    shutil.copytree(recorded().lab.home, lab.home)
    return lab


def without_its_end(folder: Path) -> str:
    """Cut a sweep's journal before the end of its last finished trial; return that trial's id."""
    path = folder / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"kind":"ended"' in line)
    path.write_bytes(b"".join(lines[:last]))
    ended = msgspec.json.decode(lines[last], type=dict[str, Any])
    return str(ended["trial"])

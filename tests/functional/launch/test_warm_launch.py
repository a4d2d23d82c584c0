"""What is kept ready while somebody chooses: it trains as what is started cold, and never stays."""

import contextlib
import fcntl
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from batchscope.engine.devices.devices import cores
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.processes.descriptor_passing import READY
from batchscope.engine.processes.worker_processes import Reserve
from batchscope.engine.sweeps import launcher
from batchscope.engine.sweeps.commands import NAME as COMMANDS
from batchscope.engine.sweeps.launcher import ask_to_stop, wait_until_free
from batchscope.engine.sweeps.prewarm import Standby
from batchscope.engine.sweeps.store import (
    LOCK,
    SWEEP,
    Launch,
    conductor_lives,
    create_sweep,
    home_folder,
)
from batchscope.engine.system.background import LOWEST
from tests.functional.crash_campaign import tables
from tests.functional.lab import conductor_of, events_of, recorded, state_of, until
from tests.terminal.terminals import Terminal

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
"""A conductor outlives whoever started it: that is its point."""
FOREVER = """
title = "Without end"
seeds = 3
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
lr = 0.1
epochs = 100000000
[grid]
batch_size = [512]
[memory]
micro_batch_size = 512
[run]
stack = "never"
"""
FIGURES = ("trials.csv", "epochs.csv", "gradient_norms.csv")
LOADED_BYTES = 120 << 20
WAIT_SECONDS = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_folder(str(tmp_path / "home"))


@pytest.fixture
def standby() -> Iterator[Standby]:
    made = Standby("cpu")
    yield made
    made.end()


def new_sweep(home: Path, preset: Path | None = None, **launch: object) -> Path:
    """A sweep that trains until it is stopped, or one of a preset."""
    if preset is None:
        preset = home / "forever.toml"
        preset.write_text(FOREVER)
    asked = Launch(preset="forever", device="cpu", **launch)  # type: ignore[arg-type]
    return create_sweep(home, load_preset(preset), asked)


def waiting(parent: int) -> psutil.Process | None:
    """The conductor that a process has waiting."""
    for child in psutil.Process(parent).children():
        with contextlib.suppress(psutil.Error):  # a child that is dead may not have been asked for
            if "batchscope.engine.standby" in child.cmdline():
                return child
    return None


def loaded(standby: psutil.Process, workers: int = 2) -> list[int]:
    """The workers of a conductor that waits, once they have loaded everything."""

    def done() -> list[psutil.Process]:
        found = []
        for worker in standby.children():
            with contextlib.suppress(psutil.Error, FileNotFoundError):
                tasks = Path(f"/proc/{worker.pid}/task").iterdir()
                stats = [(task / "stat").read_text().rpartition(")")[2].split() for task in tasks]
                nice = max(int(stat[16]) for stat in stats)
                if worker.memory_info().rss > LOADED_BYTES and nice < LOWEST:
                    found.append(worker)
        return found

    until(lambda: len(done()) == workers, "the workers have loaded everything")
    return [worker.pid for worker in done()]


def readied(standby: Standby, workers: int = 2) -> tuple[int, list[int]]:
    """Have a conductor wait with its workers loaded; their process ids."""
    standby.touch()
    until(lambda: waiting(os.getpid()) is not None, "a conductor waits")
    found = waiting(os.getpid())
    assert found
    return found.pid, loaded(found, workers)


def begun(viewer: Terminal) -> bool:
    """Whether a viewer, whose screen is looked at meanwhile, has a conductor waiting."""
    viewer.settle(1)
    return waiting(viewer.pid) is not None


def conducted(standby: Standby, folder: Path, before: int = 0) -> int:
    """Have a sweep conducted that had so many conductors before; the new one's process id."""
    standby.conduct(folder)

    def conductors() -> list[int]:
        return [e.pid for e in events_of(folder) if isinstance(e, ev.ConductorStarted)]

    until(lambda: len(conductors()) > before, "a conductor has taken charge")
    return conductors()[-1]


def workers_of(folder: Path) -> list[int]:
    return [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]


def modes_of(folder: Path) -> dict[str, int]:
    """Which files there are in a sweep's folder, and what of them is others' to use."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def gone(*pids: int) -> bool:
    """Whether none of the processes lives; one that nobody has asked about is dead as well."""
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
    return True


@contextlib.contextmanager
def ended(folder: Path) -> Iterator[None]:
    """Whatever happens, the sweep is over in the end."""
    try:
        yield
    finally:
        with contextlib.suppress(IndexError, ProcessLookupError, FileNotFoundError):
            os.kill(conductor_of(folder), signal.SIGKILL)
        assert wait_until_free(folder, WAIT_SECONDS)


# ---- a launch


def test_what_waited_trains_and_computes_what_a_cold_start_does(
    home: Path, standby: Standby, tmp_path: Path
) -> None:
    conductor, workers = readied(standby)
    folder = new_sweep(home, recorded().export / SWEEP, workers=2)
    with ended(folder):
        assert conducted(standby, folder) == conductor
        until(lambda: not conductor_lives(folder), "the sweep has ended")
    assert sorted(workers_of(folder)) == sorted(workers)
    write_export(folder, tmp_path / "warm", report=False)
    assert tables(tmp_path / "warm", FIGURES) == tables(recorded().export, FIGURES)
    assert [trial.status for trial in state_of(folder).trials.values()] == ["finished"] * 4
    assert modes_of(folder) == modes_of(recorded().folder)
    until(lambda: gone(conductor, *workers), "everything has ended")


def test_workers_that_are_missing_start_cold_and_those_too_many_end(
    home: Path, standby: Standby
) -> None:
    _, warm = readied(standby)
    folder = new_sweep(home, workers=3)
    with ended(folder):
        standby.conduct(folder)
        until(lambda: len(workers_of(folder)) == 3, "three workers are there")
        assert set(workers_of(folder)) > set(warm)
    _, warm = readied(standby)
    folder = new_sweep(home, workers=1)
    with ended(folder):
        standby.conduct(folder)
        until(lambda: state_of(folder).count("running") == 1, "it trains")
        assert workers_of(folder) == warm[:1] or workers_of(folder) == warm[1:]
        until(lambda: gone(*(set(warm) - set(workers_of(folder)))), "the other one has ended")


@pytest.mark.parametrize("whom", ["conductor", "workers"])
def test_a_launch_starts_cold_where_what_waited_is_dead(
    home: Path, standby: Standby, whom: str
) -> None:
    conductor, workers = readied(standby)
    for pid in [conductor] if whom == "conductor" else workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: gone(*workers), "the workers are gone, with their conductor as well")
    folder = new_sweep(home, workers=2)
    with ended(folder):
        assert (conducted(standby, folder) == conductor) == (whom == "workers")
        until(lambda: state_of(folder).count("running") == 2, "it trains")
        assert not set(workers_of(folder)) & set(workers)


def test_a_launch_does_not_wait_for_what_is_not_ready(home: Path, standby: Standby) -> None:
    standby.touch()
    until(lambda: waiting(os.getpid()) is not None, "it has been started")
    early = waiting(os.getpid())
    assert early
    early.suspend()
    folder = new_sweep(home, workers=1)
    with ended(folder):
        assert conducted(standby, folder) != early.pid
        assert gone(early.pid)


def test_what_froze_while_it_waited_never_comes_back_to_the_sweep(
    home: Path, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_SECONDS", 5.0)
    conductor, workers = readied(standby)
    os.kill(conductor, signal.SIGSTOP)
    folder = new_sweep(home, workers=1)
    with ended(folder):
        assert conducted(standby, folder) != conductor
        until(lambda: gone(conductor, *workers), "it is gone, with its workers")
        until(lambda: state_of(folder).count("running") == 1, "it trains")


def test_a_sweep_that_waited_for_is_stopped_as_any(home: Path, standby: Standby) -> None:
    """By a command, and by a signal where none can be written; resumed by what waits then."""
    readied(standby)
    folder = new_sweep(home, workers=1)
    with ended(folder):
        standby.conduct(folder)
        until(lambda: state_of(folder).count("running") == 1, "it trains")
        ask_to_stop(folder)
        assert wait_until_free(folder, WAIT_SECONDS)
        assert state_of(folder).count("stopped") == 1
        conductor, _ = readied(standby)
        (folder / COMMANDS).unlink()
        (folder / COMMANDS).symlink_to(folder / "nowhere" / COMMANDS)
        assert conducted(standby, folder, before=1) == conductor
        until(lambda: state_of(folder).count("running") == 1, "it goes on")
        ask_to_stop(folder)
        assert wait_until_free(folder, WAIT_SECONDS)


def test_a_second_launch_of_a_viewer_finds_one_ready_again(home: Path) -> None:
    with Terminal("--home", str(home), "--device", "cpu") as viewer:
        for launched in range(2):
            viewer.wait_for("enter launch")
            until(lambda: begun(viewer), "a conductor waits")
            found = waiting(viewer.pid)
            assert found
            loaded(found, min(2, cores()))
            viewer.press("\r")
            until(lambda n=launched: len(sweeps(home)) > n, "it is launched")  # type: ignore[misc]
            folder = sweeps(home)[-1]
            with ended(folder):
                until(lambda at=folder: bool(workers_of(at)), "it has a worker")  # type: ignore[misc]
                assert conductor_of(folder) == found.pid
                assert waiting(viewer.pid) in (None, found), "nobody chooses while a board is open"
                viewer.wait_for(" pane  ")
                viewer.press_until("m", "enter launch")


def sweeps(home: Path) -> list[Path]:
    """Folders of sweeps that have begun, oldest first."""
    return sorted(path.parent for path in (home / "sweeps").glob("*/journal.jsonl"))


# ---- the lock


async def a_loaded_worker(reserve: Reserve) -> int:
    """Fill a reserve with one worker; its process id, once it is ready."""
    await reserve.fill(1)
    (idle,) = reserve._idle

    def ready() -> bool:
        with contextlib.suppress(BlockingIOError):
            return idle.channel.recv(len(READY), socket.MSG_PEEK) == READY
        return False

    until(ready, "it has said that it is ready")
    return idle.process.pid


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_worker_that_was_taken_holds_the_lock_even_before_it_knows(
    tmp_path: Path, frozen: bool
) -> None:
    """The lock is free only when the worker is gone, be it one that never woke up to take it."""
    reserve, log = Reserve(), tmp_path / "worker-0.log"
    pid = await a_loaded_worker(reserve)
    if frozen:
        os.kill(pid, signal.SIGSTOP)
    lock = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(log, "ab") as said:
        process = reserve.take(lock, said.fileno())
    os.close(lock)
    assert process
    assert process.pid == pid
    assert conductor_lives(tmp_path)
    if not frozen:
        until(lambda: Path(f"/proc/{pid}/fd/2").readlink() == log, "the log is used")
    assert conductor_lives(tmp_path)
    process.kill()
    await process.wait()
    assert not conductor_lives(tmp_path)


async def test_a_worker_that_does_not_get_on_is_left_for_a_new_one(tmp_path: Path) -> None:
    reserve = Reserve()
    await reserve.fill(1)
    (idle,) = reserve._idle
    os.kill(idle.process.pid, signal.SIGSTOP)
    spent = sum(psutil.Process(idle.process.pid).cpu_times()[:2])
    until(lambda: time.monotonic() - idle.began > 3 * spent + 1.0, "it has waited for long")
    with open(tmp_path / LOCK, "wb") as lock, open(tmp_path / "log", "wb") as log:
        assert reserve.take(lock.fileno(), log.fileno()) is None
    until(lambda: gone(idle.process.pid), "it has ended")


def test_the_lock_is_free_only_once_a_frozen_worker_is_gone(home: Path, standby: Standby) -> None:
    conductor, workers = readied(standby)
    folder = new_sweep(home, workers=2)
    with ended(folder):
        standby.conduct(folder)
        until(lambda: state_of(folder).count("running") == 2, "it trains")
        os.kill(workers[0], signal.SIGSTOP)
        os.kill(conductor, signal.SIGKILL)
        until(lambda: not conductor_lives(folder), "nobody holds the sweep")
        assert gone(*workers)


# ---- it never stays


def test_it_ends_with_its_viewer(home: Path) -> None:
    """Also where the viewer is killed, and where the conductor is, with a frozen worker."""
    for how in ("viewer", "leave", "conductor"):
        with Terminal("--home", str(home), "--device", "cpu") as viewer:
            viewer.wait_for("quickstart")
            until(lambda at=viewer: begun(at), "a conductor waits")  # type: ignore[misc]
            found = waiting(viewer.pid)
            assert found
            pids = [found.pid, *loaded(found, min(2, cores()))]
            if how == "viewer":
                os.kill(viewer.pid, signal.SIGKILL)
            elif how == "leave":
                viewer.press("q")
            else:
                os.kill(pids[1], signal.SIGSTOP)
                os.kill(found.pid, signal.SIGKILL)
            until(lambda pids=pids: gone(*pids), f"nothing is left ({how})")  # type: ignore[misc]
    assert list((home / "sweeps").iterdir()) == []

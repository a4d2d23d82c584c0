"""Real faults at awkward moments: nothing hangs or is lost."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.data.prepare import prepare
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew, DiedAtStart
from batchscope.engine.orchestration.data_fetch import fetch
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import orders
from batchscope.engine.spec import Data, Model, Settings, Train, Trial
from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.lab import Lab, conductor_of, ended, events_of, state_of, until
from tests.unit.training_fixtures import make_trial

LONG = """
title = "Long"
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 1500
[grid]
batch_size = [64, 256, 512]
"""


def begun(folder: Path) -> bool:
    """Return whether the journal says that a conductor has started."""
    if not (folder / journal.NAME).exists():
        return False
    return any(isinstance(event, ev.ConductorStarted) for event in events_of(folder))


def workers_of(conductor: int) -> set[int]:
    """Return the processes of the workers of a conductor."""
    found = set()
    for child in psutil.Process(conductor).children():
        try:
            if "batchscope.engine.worker" in child.cmdline():
                found.add(child.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.campaign
def test_deaths_of_a_worker_and_its_replacement_lose_no_result(lab: Lab) -> None:
    """The trial continues from its checkpoint, in the first free worker."""
    (lab.root / "long.toml").write_text(LONG.replace("1500", "500"))
    follower = lab.start(
        *("--export", "out", "--preset", str(lab.root / "long.toml"), "--workers", "2")
    )
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "the journal is there")

    def kept() -> list[Path]:
        return list((folder / "trials").glob("*/checkpoint.pt"))

    until(lambda: len(kept()) == 2, "two trials have a checkpoint")
    conductor = conductor_of(folder)
    before = workers_of(conductor)
    (pid,) = (e.pid for e in events_of(folder) if isinstance(e, ev.WorkerReady) and e.worker == 0)
    os.kill(pid, signal.SIGKILL)
    until(lambda: bool(workers_of(conductor) - before), "another worker starts")
    for replacement in workers_of(conductor) - before:
        os.kill(replacement, signal.SIGKILL)
    outcome = ended(follower)
    assert outcome.code == 0, outcome.err
    trials = state_of(folder).trials.values()
    assert {trial.status for trial in trials} == {"finished"}
    assert [len(trial.records) for trial in trials] == [500] * 3
    again = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted) and e.attempt == 2]
    assert len(again) == 1
    assert again[0].resumed_steps
    assert kept() == []
    until(lambda: not psutil.pid_exists(conductor), "the conductor is gone")


@pytest.mark.campaign
async def test_a_frozen_worker_is_killed_with_its_silence_as_the_reason(tmp_path: Path) -> None:
    """The training has no end; the worker answers until it is frozen."""
    heard: list[ev.AnyEvent] = []
    with open(tmp_path / "lock", "w") as lock:
        crew = Crew(tmp_path, lock.fileno(), heard.append, silence=6.0)
        member = await crew.hire(0, "cpu", 1)
        trial = make_trial(Train(batch_size=64, lr=0.1, epochs=10**8))
        data = await fetch("digits", tmp_path, None, heard.append)
        order = orders.TrainOrder((trial,), (trial.id,), make_plan(trial, data.train, 1), 1, data)
        working = asyncio.create_task(member.work(order, heard.append, Control()))
        async with asyncio.timeout(60):
            while not any(isinstance(event, ev.EpochsFinished) for event in heard):
                await asyncio.sleep(0.1)
            assert not working.done()
            assert member.link.pid is not None
            os.kill(member.link.pid, signal.SIGSTOP)
            lost = await working
        assert lost is not None
        assert "killed after 6 s" in lost
        await crew.dismiss()


async def test_a_worker_that_freezes_while_it_starts_is_killed(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock:
        crew = Crew(tmp_path, lock.fileno(), lambda event: None, silence=0.2)
        hiring = asyncio.create_task(crew.hire(0, "cpu", 1))
        async with asyncio.timeout(60):
            while not crew.pids:
                await asyncio.sleep(0)
            os.kill(crew.pids[0], signal.SIGSTOP)
            with pytest.raises(DiedAtStart, match="killed after 1 s"):
                await hiring
        await crew.dismiss()


def test_a_terminated_conductor_saves_every_trial(lab: Lab) -> None:
    (lab.root / "long.toml").write_text(LONG.replace("1500", "100000000"))
    follower = lab.start(
        *("--preset", str(lab.root / "long.toml"), "--export", "out", "--workers", "2")
    )
    folder = lab.only_folder()
    until(lambda: begun(folder), "a conductor has taken charge")
    until(lambda: state_of(folder).count("running") == 2, "two trials run")
    conductor = conductor_of(folder)
    os.kill(conductor, signal.SIGHUP)  # it has no terminal to lose
    os.kill(conductor, signal.SIGTERM)
    assert ended(follower).code == 130
    assert not conductor_lives(folder)
    assert lab.listed()[0]["state"] == "stopped"
    stopped = [trial for trial in state_of(folder).trials.values() if trial.status == "stopped"]
    assert len(stopped) == 2
    for trial in stopped:
        header = checkpoints.latest_header(checkpoints.folder_of(folder, trial.id))
        assert header is not None
        assert header.steps >= max((record.steps for record in trial.records), default=0)


def test_a_frozen_worker_does_not_outlive_its_conductor(lab: Lab) -> None:
    (lab.root / "long.toml").write_text(LONG)
    lab.start("--preset", str(lab.root / "long.toml"), "--export", "out", "--workers", "1")
    folder = lab.only_folder()
    until(lambda: begun(folder), "a conductor has taken charge")
    conductor = conductor_of(folder)
    until(lambda: len(workers_of(conductor)) == 1, "a worker starts")
    (worker,) = workers_of(conductor)
    os.kill(worker, signal.SIGSTOP)
    os.kill(conductor, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(worker), "the worker is gone")
    assert not conductor_lives(folder)


def test_a_worker_ends_when_its_orders_end_even_within_a_line() -> None:
    worker = subprocess.run(
        [sys.executable, "-P", "-m", "batchscope.engine.worker"],
        input=b'{"order":"tra',
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert worker.stdout == b""


def test_a_worker_stops_during_a_measurement(tmp_path: Path) -> None:
    settings = Settings(
        data=Data(name="digits"),
        model=Model(name="cnn"),
        train=Train(batch_size=1024, lr=0.1, epochs=1000),
    )
    trial = Trial(id="b1024-s0", configuration="b1024", seed=0, settings=settings)
    data = prepare("digits", tmp_path, None)
    plan = make_plan(trial, data.train, threads=1)
    measure = orders.Measure(
        members=(trial,),
        plan=plan,
        attempt=3,
        data=data,
        device_name="cpu",
        asked_bytes=None,
        limit_bytes=1 << 40,
        seconds=60.0,
    )
    setup = orders.Setup(worker=0, device="cpu", threads=1)
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchscope.engine.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker:
        for order in (setup, measure, orders.Halt()):
            worker.stdin.write(orders.encode(order) + b"\n")
        worker.stdin.flush()
        ready, stopped = (journal.decode(worker.stdout.readline()) for _ in range(2))
    assert isinstance(ready, ev.WorkerReady)
    assert stopped == ev.TrialEnded(trial="b1024-s0", attempt=3, status="stopped")


FILL = """
import resource, signal, sys
from pathlib import Path
from batchscope.engine.journal import file as journal
from batchscope.engine.processes import orders
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.orchestration.crew import Crew
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.orchestration.data_fetch import fetch
from batchscope.engine.spec import Train
from batchscope.engine.journal.events import Note

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = journal.Writer(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 5000))
refused = 0
for number in range(40):
    try:
        writer.append(Note(text=f"{number:02} " + "x" * 40))
    except OSError:
        refused += 1
        if refused == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
print(refused)
"""


def test_an_event_after_an_incomplete_line_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"3\n"
    reader = journal.Reader(path)
    numbers = [int(event.text[:2]) for event in reader.read_all() if isinstance(event, ev.Note)]
    assert reader.damaged == 0
    assert len(numbers) == 37
    assert numbers == sorted(numbers)
    assert numbers[-1] == 39

"""A data-parallel trial with a worker that freezes or dies, in each phase of its life."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import rank_processes
from batchscope.engine.processes.orders import TeamSpec
from batchscope.engine.training.batches import load_images
from batchscope.engine.training.data_parallel.exchange import TeamLost
from batchscope.engine.training.data_parallel.leader import Team, start_team
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.engine.data_parallel_fixtures import over
from tests.unit.training_fixtures import CPU, synthetic

SILENCE = 3.0
LOST = "the workers of this trial lost each other: worker 2 of 2 "
DEATHS = {
    "kill": (signal.SIGKILL, LOST + "was killed by signal 9"),
    "stop": (signal.SIGSTOP, LOST + "did not answer for 3 s"),
}


class Told:
    """What the thread that watches the others has said."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.heard = threading.Event()

    def __call__(self, reason: str) -> None:
        self.words.append(reason)
        self.heard.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def duo(told: Told) -> Iterator[tuple[Team, psutil.Process]]:
    """A team of two, and the process of the other."""
    before = set(psutil.Process().children())
    team = start_team(2, TeamSpec(), "cpu", SILENCE, told)
    (other,) = set(psutil.Process().children()) - before
    yield team, other
    team.end()
    assert not other.is_running()


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_is_lost_in_the_middle_of_a_training(
    how: str, tmp_path: Path, duo: tuple[Team, psutil.Process], told: Told
) -> None:
    data = synthetic(tmp_path, train=20, test=10)
    images, trial, batch = load_images(data, CPU), over(2, 16), torch.arange(16).unsqueeze(0)
    plan = make_plan(trial, 20, threads=1)
    team, other = duo
    team.begin(trial, plan, data)
    stepper = Stepper((trial,), plan, images, CPU, team)
    stepper.gradient(batch)
    number, words = DEATHS[how]
    os.kill(other.pid, number)
    with pytest.raises(TeamLost) as lost:
        stepper.gradient(batch)
    team.broken = True
    assert str(lost.value) == words
    assert told.heard.wait(60)
    assert told.words == [words]


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_is_lost_between_two_trials(
    how: str, tmp_path: Path, duo: tuple[Team, psutil.Process], told: Told
) -> None:
    data, trial = synthetic(tmp_path, train=20, test=10), over(2, 16)
    team, other = duo
    number, words = DEATHS[how]
    os.kill(other.pid, number)
    assert told.heard.wait(60), "it is noticed although nobody waits for it"
    assert told.words == [words]
    with pytest.raises(TeamLost) as lost:
        team.begin(trial, make_plan(trial, 20, threads=1), data)
    team.broken = True
    assert str(lost.value) == words


MEETING = """
import os, sys
from batchscope.engine.processes import rank_processes
from batchscope.engine.processes.orders import TeamSpec
from batchscope.engine.training.data_parallel.leader import start_team

def lost(reason):
    os.write(1, reason.encode())
    os._exit(7)

other = "import os; os.write(1, b'ready\\\\n'); os.kill(os.getpid(), {number})"
rank_processes.module_command = lambda module: [sys.executable, "-c", other]
start_team(2, TeamSpec(), "cpu", {silence}, lost)
"""


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_is_lost_while_they_meet(how: str) -> None:
    """The first waits within a library, which nothing but the end of its process can end."""
    number, words = DEATHS[how]
    code = MEETING.format(number=int(number), silence=SILENCE)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=100, check=False
    )
    assert (done.stdout.decode(), done.returncode) == (words, 7)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the program of the other workers, which have three seconds to start."""
    monkeypatch.setattr(rank_processes, "START_SECONDS", SILENCE)

    def run(code: str) -> None:
        monkeypatch.setattr(
            rank_processes, "module_command", lambda module: [sys.executable, "-c", code]
        )

    return run


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_is_lost_while_it_starts(
    how: str, impatient: Callable[[str], None], told: Told
) -> None:
    number, words = DEATHS[how]
    impatient(f"import os; os.kill(os.getpid(), {int(number)})")
    before = set(psutil.Process().children())
    with pytest.raises(TeamLost) as lost:
        start_team(2, TeamSpec(), "cpu", SILENCE, told)
    assert str(lost.value) == words
    assert set(psutil.Process().children()) <= before


def test_one_that_cannot_be_started_ends_those_that_were(
    monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    commands = iter([[sys.executable, "-c", "input()"], ["/nowhere/python"]])
    monkeypatch.setattr(rank_processes, "module_command", lambda module: next(commands))
    before = set(psutil.Process().children())
    with pytest.raises(TeamLost, match=r"could not be started: .*No such file"):
        start_team(3, TeamSpec(), "cpu", SILENCE, told)
    assert set(psutil.Process().children()) <= before

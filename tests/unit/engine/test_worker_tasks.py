"""What a worker, as the process that it is, does when a person's code hangs or leaves it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent, Note, TrialEnded, WorkerReady
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import orders
from batchscope.engine.spec import Train
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.task_table import TaskFacts, TaskTable
from tests.broken.loaded_kinds import copied, line_of
from tests.unit.engine.training.tasks.task_fixtures import task_trial

SIZE = 40
TRAIN = Train(batch_size=5, lr=0.01, epochs=2)


def training(kind: str, folder: Path, loaders: int = 0) -> orders.TrainOrder:
    """The order to train a kind."""
    facts = TaskFacts(train=SIZE, test=7)
    trial = task_trial(TRAIN, facts=facts)
    table = TaskTable(use="kinds:make", arguments=(("kind", kind),), loaders=loaders)
    settings = msgspec.structs.replace(trial.settings, task=table)
    trial = msgspec.structs.replace(trial, settings=settings)
    data = Prepared(table.name, str(folder), SIZE, 7, (0, 0, 0), 0, digest="", task=facts)
    plan = make_plan(trial, SIZE, threads=1)
    return orders.TrainOrder((trial,), (trial.id,), plan, 1, data)


class Hired:
    """A worker process that is ready."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, silence: float) -> None:
        self._process, self._folder = process, folder
        self.tell(orders.Setup(0, "cpu", 1, silence=silence))
        assert isinstance(self.event(), WorkerReady)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, order: orders.AnyOrder) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(orders.encode(order) + b"\n")
        self._process.stdin.flush()

    def train(self, kind: str, loaders: int = 0) -> str:
        """Send the order to train a kind; return the id of its trial."""
        order = training(kind, self._folder, loaders)
        self.tell(order)
        return order.active[0]

    def event(self) -> AnyEvent:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker is gone"
        return journal.decode(line)

    def end(self) -> TrialEnded:
        while not isinstance(event := self.event(), TrialEnded):
            pass
        return event


@contextmanager
def hired(tmp_path: Path, silence: float = 60.0) -> Iterator[Hired]:
    process = subprocess.Popen(
        module_command("batchscope.engine.worker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Hired(process, copied(tmp_path / "theirs"), silence)
    finally:
        process.kill()
        process.communicate()


def test_a_trial_that_leaves_the_process_fails_once_and_the_worker_goes_on(tmp_path: Path) -> None:
    with hired(tmp_path) as worker:
        pid = worker.pid
        for kind, happens in (("os-exit", "os-exit"), ("leaves-in-step", "leaves-in-step")):
            worker.train(kind)
            end = worker.end()
            status = 7 if kind == "os-exit" else 0
            assert end.status == "failed"
            assert end.reason == f"{line_of(happens)}: called os._exit({status})"
        worker.train("plain")
        assert worker.end().status == "finished"
        assert worker.pid == pid


@pytest.mark.parametrize("kind", ["sleeps-for-ever", "sleeps-in-step"])
def test_a_trial_that_hangs_says_where_and_is_waited_for(tmp_path: Path, kind: str) -> None:
    with hired(tmp_path, silence=1.0) as worker:
        trial = worker.train(kind)
        while not isinstance(event := worker.event(), Note):
            assert not isinstance(event, TrialEnded)
        assert (event.trial, event.level) == (trial, "warning")
        assert event.text == f"{line_of(kind)}: one call has taken 1 s so far; it is waited for"
        worker.tell(orders.Ping())


async def last_words(tmp_path: Path, kind: str) -> str | None:
    """Train a kind that fails, then another; return why the worker was lost, if it was."""
    folder = copied(tmp_path / "theirs")
    with open(tmp_path / "lock", "wb") as lock:
        crew = Crew(tmp_path, lock.fileno(), lambda event: None, silence=60.0)
        try:
            member = await crew.hire(0, "cpu", 1)
            heard = list[AnyEvent]()
            await member.work(training("step-7", folder), heard.append, Control())
            (end,) = (event for event in heard if isinstance(event, TrialEnded))
            assert end.status == "failed"
            assert "no label 7" in (tmp_path / "worker-0.log").read_text()
            return await member.work(training(kind, folder), heard.append, Control())
        finally:
            await crew.dismiss()


async def test_a_lost_worker_quotes_nothing_of_an_earlier_trial(tmp_path: Path) -> None:
    assert await last_words(tmp_path, "killed") == "the worker was killed by signal 9"


async def test_a_crash_names_the_line(tmp_path: Path) -> None:
    lost = await last_words(tmp_path, "crashes")
    assert lost is not None
    assert "its log ends: Fatal Python error: Segmentation fault | File " in lost
    assert lost.endswith(f"{line_of('crashes').replace(', ', f'{chr(34)}, ')} in crashes")

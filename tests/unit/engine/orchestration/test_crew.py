"""What a conductor does with a worker that does not say what it should."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.orchestration import crew as crews
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew, DiedAtStart, Scarce, WorkerHandle
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import orders, worker_processes
from batchscope.engine.processes.link import ProcessLink
from batchscope.engine.processes.orders import LONGEST_LINE
from batchscope.engine.spec import Train
from tests.unit.engine.conductor_fixtures import DATA
from tests.unit.training_fixtures import make_trial

TRIAL = make_trial(Train(batch_size=64, lr=0.1, epochs=1))
PLAN = make_plan(TRIAL, 1437, 1)
ORDER = orders.TrainOrder((TRIAL,), (TRIAL.id,), PLAN, 1, DATA["digits"])
END = journal.encode(ev.TrialEnded(trial=TRIAL.id, attempt=1, status="finished")) + b"\n"
SAID = """
import os, sys, time
part, times, rest = {part!r}, {times}, {rest!r}
for _ in range(times):
    os.write(1, part)
left = memoryview(rest)
while left:
    left = left[os.write(1, left):]
time.sleep({seconds})
"""


@contextlib.asynccontextmanager
async def worker(
    folder: Path, rest: bytes, part: bytes = b"", times: int = 0, seconds: float = 100.0
) -> AsyncIterator[WorkerHandle]:
    """A process that writes this instead of events, and then waits."""
    log = folder / "worker-0.log"
    log.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        SAID.format(part=part, times=times, rest=rest, seconds=seconds),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        yield WorkerHandle(ProcessLink(process, log), 0, "cpu", 60.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def told(member: WorkerHandle) -> tuple[str | None, list[ev.AnyEvent]]:
    heard: list[ev.AnyEvent] = []
    async with asyncio.timeout(60):
        return await member.work(ORDER, heard.append, Control()), heard


async def test_answers_and_kinds_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    unknown = b'{"kind":"of_a_later_version","deep":[[1]]}\n'
    async with worker(tmp_path, orders.ALIVE + unknown + END) as member:
        lost, heard = await told(member)
    assert lost is None
    assert [type(event) for event in heard] == [ev.TrialEnded]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\n", id="empty"),
        pytest.param(b"Traceback\n", id="text"),
        pytest.param(b"\x00\x00\n", id="NUL"),
        pytest.param(b"\xff\xfe\n", id="no UTF-8"),
        pytest.param(END[:-2] + b"\n", id="cut"),
        pytest.param(b'{"kind":"ended","trial":"\xff"}\n', id="no UTF-8 within"),
        pytest.param(b"[" * 100_000 + b"\n", id="deep"),
        pytest.param(b'{"kind":"note","x":' + b"[" * 100_000 + b"\n", id="deep within"),
        pytest.param(b'{"kind":"new","x":' + b"[" * 100_000 + b"\n", id="deep in an unknown"),
        pytest.param(END.replace(b"finished", b"ended"), id="no status"),
    ],
)
async def test_a_worker_that_sends_anything_but_an_event_is_replaced(
    tmp_path: Path, line: bytes
) -> None:
    async with worker(tmp_path, line + END) as member:
        lost, heard = await told(member)
    assert lost == "the worker was killed because it sent a line that is no event"
    assert heard == []


async def test_an_event_of_another_trial_is_refused(tmp_path: Path) -> None:
    other = journal.encode(ev.TrialEnded(trial="b9-s9", attempt=1, status="finished")) + b"\n"
    async with worker(tmp_path, other + END) as member:
        lost, heard = await told(member)
    assert lost == "the worker was killed because it sent an event of another trial"
    assert heard == []


async def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    """Half a gigabyte without a newline: the conductor keeps no more than twice the limit."""
    before = psutil.Process().memory_info().rss
    async with worker(tmp_path, END, b"a" * (1 << 16), 1 << 13) as member:
        lost, heard = await told(member)
        grown = psutil.Process().memory_info().rss - before
    assert lost == "the worker was killed because it sent a line that is no event"
    assert heard == []
    assert grown < 3 * LONGEST_LINE


async def test_half_a_line_of_a_worker_that_died_is_no_event(tmp_path: Path) -> None:
    async with worker(tmp_path, END[:-1], seconds=0) as member:
        lost, heard = await told(member)
    assert lost == "the worker was ended with exit code 0"
    assert heard == []


async def test_a_frozen_worker_with_a_full_pipe_is_killed(tmp_path: Path) -> None:
    """It never reads: neither an order nor a ping fits into the pipe any more."""
    log = tmp_path / "worker-0.log"
    log.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import time; time.sleep(1000)"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    member = WorkerHandle(ProcessLink(process, log), 0, "cpu", 0.5)
    assert process.stdin is not None
    process.stdin.write(b"\n" * (1 << 20))
    async with asyncio.timeout(60):
        lost, _ = await told(member)
    assert lost == "the worker was killed after 0.5 s without an answer"


async def hire(tmp_path: Path, heard: list[ev.AnyEvent], silence: float = 60.0) -> str:
    """Return the kind and the text of the problem of a worker that cannot be started."""
    with open(tmp_path / "lock", "w") as lock:
        crew = Crew(tmp_path, lock.fileno(), heard.append, silence)
        with pytest.raises(MachineProblem) as problem:
            async with asyncio.timeout(60):
                await crew.hire(0, "cpu", 1)
        await crew.dismiss()
    return f"{type(problem.value).__name__}: {problem.value}"


def instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(worker_processes, "module_command", lambda module: command)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise SystemExit(1)", DiedAtStart),
        ("import os; os.kill(os.getpid(), 9)", DiedAtStart),
        ("raise OSError(24, 'Too many open files')", Scarce),
        ('raise RuntimeError("can\'t start new thread")', Scarce),
        ("print('no event', flush=True); input(); input()", DiedAtStart),
    ],
)
async def test_a_worker_that_ends_at_its_start_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[DiedAtStart]
) -> None:
    instead(monkeypatch, code)
    assert (await hire(tmp_path, [])).startswith(f"{kind.__name__}: a worker could not be started")


async def test_one_for_which_no_file_is_left_is_tried_again(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "worker-0.log").touch()
    highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 (numbers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, limits[1]))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        os.close(taken.pop())  # for the lock
        words = await hire(tmp_path, [])
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert words == "Scarce: a worker could not be started: Too many open files"


async def test_a_worker_that_is_silent_while_it_starts_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, "import time; time.sleep(1000)")
    heard: list[ev.AnyEvent] = []
    words = await hire(tmp_path, heard, silence=0.2)
    last = "a worker could not be started: the worker was killed after 1 s without an answer"
    assert words == f"DiedAtStart: {last}"
    (note,) = heard
    assert isinstance(note, ev.Note)
    assert (note.level, note.text) == (
        "warning",
        "worker 0 starts, and has not answered for 0.2 s; after 1 s another is started",
    )
    assert crews.START_PATIENCE == 5

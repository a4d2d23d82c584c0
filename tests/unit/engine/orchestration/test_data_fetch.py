"""A process that prepares images and dies, stops or writes nonsense: real ones, started by hand."""

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest

from batchscope.engine.data.prepare import prepare
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration import data_fetch
from batchscope.engine.orchestration.data_fetch import fetch

FIRST = """
import os, runpy, sys, time
from pathlib import Path
flag = Path(os.environ["FLAG"])
number = int(flag.read_text()) if flag.exists() else 0
flag.write_text(str(number + 1))
if number < {times}:
    {first}
runpy.run_module("batchscope.engine.data.prepare", run_name="__main__", alter_sys=True)
"""


class Fetching:
    """Fetches the digits by processes that do something else first."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self._patch = home, monkeypatch
        self.events: list[ev.AnyEvent] = []
        monkeypatch.setenv("FLAG", str(home / "flag"))

    def at_first(self, code: str, times: int = 1) -> None:
        program = [sys.executable, "-P", "-c", FIRST.format(times=times, first=code)]
        self._patch.setattr(data_fetch, "module_command", lambda module: program)

    async def digest(self, silence: float = 60.0) -> str:
        data = await fetch("digits", self.home, None, self.events.append, silence)
        return data.digest

    @property
    def notes(self) -> list[tuple[str, str]]:
        return [(e.level, e.text) for e in self.events if isinstance(e, ev.Note)]

    @property
    def started(self) -> int:
        return int((self.home / "flag").read_text())


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetching:
    return Fetching(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepare("digits", tmp_path_factory.mktemp("home")).digest


LOST = "digits: the process that prepares the images"


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("os._exit(7)", "ended with exit code 7"),
        ("os.write(1, b'{\"prep'); os.kill(os.getpid(), 15)", "was killed by signal 15"),
        ('os.write(1, b\'{"lost":"x\\\\u001b"}\\n\'); time.sleep(60)', "gave up: x\ufffd"),
    ],
)
async def test_a_lost_process_is_replaced(
    fetching: Fetching, digest: str, code: str, how: str
) -> None:
    fetching.at_first(code)
    assert await fetching.digest() == digest
    assert ("warning", f"{LOST} {how}; it is started again") in fetching.notes
    assert fetching.started == 2


async def test_a_process_that_always_dies_ends_the_sweep_in_words(fetching: Fetching) -> None:
    fetching.at_first("os.kill(os.getpid(), 9)", times=99)
    with pytest.raises(MachineProblem) as caught:
        await fetching.digest()
    assert str(caught.value) == f"{LOST} was killed by signal 9 (after 3 retries)"
    assert fetching.started == 4
    assert len(fetching.notes) == 3


async def test_a_process_that_says_why_is_not_started_again(fetching: Fetching) -> None:
    fetching.at_first("""os.write(1, b'{"error":"no such images"}\\n'); time.sleep(60)""")
    with pytest.raises(MachineProblem, match="^no such images$"):
        await fetching.digest()
    assert fetching.started == 1


@pytest.mark.parametrize(("start", "seconds"), [("", 12), ("os.write(1, b'{}\\n');", 6)])
async def test_a_stopped_process_is_replaced(
    fetching: Fetching, digest: str, monkeypatch: pytest.MonkeyPatch, start: str, seconds: int
) -> None:
    """Before its first word it has more time, as it cannot answer while it loads libraries."""
    monkeypatch.setattr(data_fetch, "START_PATIENCE", 2)
    fetching.at_first(f"{start} os.kill(os.getpid(), {int(signal.SIGSTOP)})")
    assert await fetching.digest(silence=6.0) == digest
    how = f"was killed after {seconds} s without an answer"
    assert ("warning", f"{LOST} {how}; it is started again") in fetching.notes
    assert fetching.started == 2


NONSENSE = [
    b"\xff\xfe\n",
    b"\n",
    b"null\n[1]\n",
    b'{"prepared":{"name":"digits"}}\n',
    b'{"received":"many"}\n',
    b"[" * 100_000 + b"\n",
    b'{"prepared":' * 10_000 + b"\n",
    b"x" * (3 << 20) + b"\n",
    b"x" * (3 << 20),
]


async def test_nonsense_is_passed_over(fetching: Fetching, digest: str) -> None:
    path = fetching.home / "nonsense"
    path.write_bytes(b"".join(NONSENSE) + b"\n")
    code = f"sys.stdout.buffer.write(Path({str(path)!r}).read_bytes()); sys.stdout.flush()"
    fetching.at_first(code)
    assert await fetching.digest() == digest
    assert fetching.started == 1
    assert [event for event in fetching.events if isinstance(event, ev.DataProgress)] == []


async def test_a_command_that_cannot_be_started(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_fetch, "module_command", lambda module: ["/nowhere/python"])
    with pytest.raises(MachineProblem, match=r"could not be started: No such file .*3 retries"):
        await fetching.digest()


async def test_a_lock_that_another_process_holds_is_named(
    fetching: Fetching, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_fetch, "EXPLAIN_SECONDS", 1.0)
    lock = fetching.home / "data" / "digits.lock"
    lock.parent.mkdir()
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lock.write_text(f"{os.getpid()} {os.uname().nodename}")

        def write(event: ev.AnyEvent) -> None:
            fetching.events.append(event)
            if isinstance(event, ev.Note) and "waiting" in event.text and not held.closed:
                fcntl.flock(held, fcntl.LOCK_UN)

        data = await fetch("digits", fetching.home, None, write)
    assert data.digest == digest
    waiting = f"digits: still waiting for process {os.getpid()}, which holds {lock}"
    assert any(text.startswith(waiting) for _, text in fetching.notes)

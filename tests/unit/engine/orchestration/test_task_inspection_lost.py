"""A process that runs a person's task and is left, hangs or is lost: real ones."""

import json
import subprocess
from pathlib import Path

import pytest

from batchscope.engine.data.prepare_messages import PrepareMessage
from batchscope.engine.journal.events import AnyEvent, Note
from batchscope.engine.orchestration import data_fetch
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.untrusted_files import decode_json
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import CodeRefused
from tests.broken.loaded_kinds import copied, line_of


def table(kind: str) -> TaskTable:
    return TaskTable(use="kinds:make", arguments=(("kind", kind),))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("os-exit", f"{line_of('os-exit')}: called os._exit(7)"),
        ("exits-in-c", "the process that runs the task ended with exit code 7"),
    ],
)
async def test_code_that_leaves_the_process_is_run_once(
    tmp_path: Path, kind: str, expected: str
) -> None:
    said: list[AnyEvent] = []
    folder = copied(tmp_path / "theirs")
    found = await data_fetch.inspect(table(kind), str(folder), said.append)
    assert found.task is not None
    assert found.task.problem == expected
    assert said == [], "nothing is started again"


@pytest.mark.parametrize("kind", ["sleeps-for-ever", "hangs-in-the-loss", "hangs-in-a-sample"])
def test_a_call_that_takes_long_says_where(tmp_path: Path, kind: str) -> None:
    folder = copied(tmp_path / "theirs")
    words = {"use": "kinds:make", "arguments": [["kind", kind]]}
    process = subprocess.Popen(
        [*module_command(data_fetch.INSPECTION), str(folder), json.dumps(words), "1"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        heard = []
        for line in process.stdout:
            heard.append(decode_json(line, PrepareMessage))
            if heard[-1].note:
                break
        expected = f"{line_of(kind)}: one call has taken 1 s so far; it is waited for"
        assert heard[-1].note == expected
        assert process.poll() is None
        beat = next(each for line in process.stdout if (each := place_in(line)))
        assert beat == line_of(kind)
    finally:
        process.kill()
        process.communicate()


def place_in(line: bytes) -> str:
    return decode_json(line, PrepareMessage).place


async def test_a_wait_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_fetch, "EXPLAIN_SECONDS", 0.0)

    class Said(Exception):
        """Enough was said."""

    def write(event: AnyEvent) -> None:
        if isinstance(event, Note) and "still running" in event.text:
            raise Said(event.text)

    folder = str(copied(tmp_path / "theirs"))
    with pytest.raises(Said) as said:
        await data_fetch.inspect(table("sleeps-for-ever"), folder, write)
    begin = f"{table('sleeps-for-ever').name}: still running the task, at kinds.py, line "
    assert str(said.value).startswith(begin)


async def test_a_module_that_may_not_be_run_stops_the_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "away.py").write_text("")
    (folder / "late.py").symlink_to(tmp_path / "away.py")
    (folder / "mine.py").write_text("def make(seed):\n    import late\n")
    with pytest.raises(CodeRefused, match=r"late\.py.*link") as caught:
        await data_fetch.inspect(TaskTable(use="mine:make"), str(folder), lambda _: None)
    assert caught.value.files == ("late.py",)
    assert caught.value.exit_code == 2

"""A journal on a disk that fails for a while: nothing is lost, mixed up or out of order."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.journal.buffered_writer import REFUSALS, BufferedWriter
from batchscope.engine.journal.notice import NoticeFile
from batchscope.tui.viewmodel.journal_follower import JournalFollower

FULL = """
import resource, signal, sys
from pathlib import Path
from batchscope.engine.journal.events import MemorySampled, Note
from batchscope.engine.journal.notice import NoticeFile
from batchscope.engine.journal.buffered_writer import BufferedWriter

def most(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, 100_000))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
writer = BufferedWriter(folder / "journal.jsonl", NoticeFile(folder).say, lambda: 0.0)
sample = MemorySampled(device="cpu", name="cpu", total=1, ours=0, others=0)
behind = []
for number in range(40):
    if number == 10:
        most(2000)
    if number == 30:
        print(bytes((folder / "notice.txt").read_bytes()).strip().decode())
        most(100_000)
        writer.catch_up(at_once=True)
    writer.append(Note(text=f"{number:02} " + "x" * 150))
    writer.append(sample)
    behind.append(writer.behind)
    if number in (20, 35):
        print(writer.sync())
print(behind.index(True) > 9, not behind[-1], repr((folder / "notice.txt").read_text().strip()))
"""


def test_events_refused_by_a_full_disk_are_written_later_in_order(tmp_path: Path) -> None:
    """A limit on the file size simulates the full disk; it ends within a line."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    before, said, *after = done.stdout.decode().splitlines()
    assert [before, *after] == ["False", "True", "True True ''"]
    assert "File too large" in said
    reader = journal.Reader(tmp_path / journal.NAME)
    events = reader.read_all()
    assert reader.damaged == 0
    texts = [event.text for event in events if isinstance(event, ev.Note)]
    numbers = [int(text[:2]) for text in texts if text[:2].isdigit()]
    assert numbers == list(range(40))
    (late,) = [text for text in texts if not text[:2].isdigit()]
    assert " 0 s: " in late
    assert 0 < sum(isinstance(event, ev.MemorySampled) for event in events) < 40


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_events_are_written_after_every_kind_of_disk_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, over quota, read-only or broken, while writing or while syncing."""
    said: list[str] = []
    writer = BufferedWriter(tmp_path / journal.NAME, said.append, lambda: 0.0)
    refusing = [False]

    def refuse(real: Callable[..., int | None], *words: object) -> int | None:
        if refusing[0]:
            raise OSError(number, os.strerror(number))
        return real(*words)

    file = SimpleNamespace(
        write=partial(refuse, writer._writer._file.write),
        fileno=writer._writer._file.fileno,
        close=writer._writer._file.close,
    )
    monkeypatch.setattr(writer._writer, "_file", file)
    monkeypatch.setattr(os, "fsync", partial(refuse, os.fsync))
    writer.append(ev.Note(text="0"))
    refusing[0] = True
    assert not writer.sync()
    for text in "123":
        writer.append(ev.Note(text=text))
        assert not writer.sync()
    assert writer.behind
    assert os.strerror(number) in said[-1]
    refusing[0] = False
    assert writer.catch_up(at_once=True)
    assert writer.sync()
    assert said[-1] == ""
    writer.close()
    reader = journal.Reader(tmp_path / journal.NAME)
    texts = [event.text for event in reader.read_all() if isinstance(event, ev.Note)]
    assert texts[:4] == ["0", "1", "2", "3"]
    assert [text for text in texts[4:] if "3 events" not in text] == []
    assert len(texts) == 5
    assert reader.damaged == 0


def test_a_notice_disappears_with_the_next_line_if_nothing_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    writer = BufferedWriter(tmp_path / journal.NAME, said.append, lambda: 0.0)
    real = writer._writer.append

    def refuse(*events: ev.AnyEvent) -> None:
        monkeypatch.setattr(writer._writer, "append", real)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer._writer, "append", refuse)
    sample = ev.MemorySampled(device="cpu", name="cpu", total=1, ours=0, others=0)
    writer.append(sample)
    assert "No space left" in said[-1]
    assert not writer.behind
    writer.append(sample)
    assert said[-1] == ""
    writer.close()


def test_other_errors_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BufferedWriter(tmp_path / journal.NAME, lambda text: None, lambda: 0.0)
    writer.close()

    def refuse(*words: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(writer._writer, "append", refuse)
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer.append(ev.Note(text="nobody would ever write it"))


def test_a_notice_has_a_fixed_size_and_no_control_characters(tmp_path: Path) -> None:
    assert notice.read(tmp_path) == ""
    board = NoticeFile(tmp_path)
    size = (tmp_path / notice.NAME).stat().st_size
    assert notice.read(tmp_path) == ""
    board.say("\x1b[31m" + "é" * 2000)
    assert (tmp_path / notice.NAME).stat().st_size == size
    assert notice.read(tmp_path).startswith("�[31méé")
    board.say("")
    assert notice.read(tmp_path) == ""
    NoticeFile(tmp_path / "nowhere").say("nobody reads it")


def test_the_board_shows_the_notice(tmp_path: Path) -> None:
    writer = BufferedWriter(tmp_path / journal.NAME, NoticeFile(tmp_path).say, lambda: 0.0)
    follower = JournalFollower(tmp_path)
    assert follower.poll().problem == ""
    NoticeFile(tmp_path).say("the journal cannot be written")
    assert follower.poll().problem == "the journal cannot be written"
    writer.close()

"""A journal that is cut or has a changed byte never gives a wrong result."""

import errno
import os
from pathlib import Path

import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from tests.unit.training_fixtures import configuration, ended, epochs, opened, record, started

OF = configuration(32)
EVENTS: list[ev.AnyEvent] = [
    ev.JournalOpened(version=1, program="0"),
    *opened([OF]),
    started(OF),
    epochs(OF, record(1, steps=45), record(2, steps=90)),
    ended(OF, at=9.0),
]
CONTENT = b"".join(map(journal.sealed, EVENTS))


def read(path: Path, content: bytes) -> tuple[list[ev.AnyEvent], int]:
    path.write_bytes(content)
    reader = journal.Reader(path)
    return reader.read_all(), reader.damaged


def test_a_cut_journal_holds_the_events_before_the_cut(tmp_path: Path) -> None:
    """The next event begins on a new line."""
    path = tmp_path / journal.NAME
    for length in range(len(CONTENT) + 1):
        events, damaged = read(path, CONTENT[:length])
        whole = CONTENT[:length].count(b"\n")
        assert (events, damaged) == (EVENTS[:whole], 0)
        SweepState().fold(events)
        writer = journal.Writer(path)
        writer.append(ev.Note(text="the next"))
        writer.close()
        again = journal.Reader(path).read_all()
        assert again[-1] == ev.Note(text="the next")
        assert again[:whole] == EVENTS[:whole]


def test_a_changed_byte_is_detected_anywhere(tmp_path: Path) -> None:
    """Each event is read as it was written, or skipped and counted."""
    path = tmp_path / journal.NAME
    for index in range(len(CONTENT)):
        for flip in (1, 4, 0x80):
            changed = bytes([CONTENT[index] ^ flip])
            content = CONTENT[:index] + changed + CONTENT[index + 1 :]
            events, damaged = read(path, content)
            assert all(event in EVENTS for event in events)
            assert damaged == content.count(b"\n") - len(events)
            lost = len(EVENTS) - len(events)
            assert lost <= 2, "a line end that changed takes two lines with it"


def test_a_journal_without_checksums_is_read(tmp_path: Path) -> None:
    old = b"".join(journal.encode(event) + b"\n" for event in EVENTS)
    assert read(tmp_path / journal.NAME, old) == (EVENTS, 0)


def test_a_network_of_a_later_version_cannot_be_read(tmp_path: Path) -> None:
    """It counts as damage, as any value does that the types do not allow."""
    content = b"".join(journal.encode(event) + b"\n" for event in EVENTS)
    events, damaged = read(tmp_path / journal.NAME, content.replace(b'"mlp"', b'"later"'))
    assert (len(events), damaged) == (len(EVENTS) - 1, 1)
    assert not any(isinstance(event, ev.SweepOpened) for event in events)
    SweepState().fold(events)


def test_data_of_a_failed_fsync_are_written_again_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux drops the pages of a failed fsync, and the next fsync succeeds without them."""
    writer = journal.Writer(tmp_path / journal.NAME)
    writer.append(ev.Note(text="one"))
    writer.sync()
    durable = (tmp_path / journal.NAME).stat().st_size
    writer.append(ev.Note(text="two"))
    fails, written = [True], list[tuple[int, bytes]]()
    real_sync, real_write = os.fsync, os.pwrite

    def fsync(descriptor: int) -> None:
        if fails.pop() if fails else False:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_sync(descriptor)

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        written.append((offset, data))
        return real_write(descriptor, data, offset)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    writer.append(ev.Note(text="three"))
    writer.sync()
    both = journal.sealed(ev.Note(text="two")) + journal.sealed(ev.Note(text="three"))
    assert written == [(durable, both)]
    writer.sync()
    writer.close()
    assert len(written) == 1, "and once is enough"
    texts = [e.text for e in journal.Reader(writer._path).read_all() if isinstance(e, ev.Note)]
    assert texts == ["one", "two", "three"]


# ---- checksums that are missing, lines without bounds


def test_a_line_that_lost_its_checksum_is_damaged(tmp_path: Path) -> None:
    """Else a bit changed within its name would let any other bit pass."""
    lines = CONTENT.splitlines(keepends=True)
    for at in range(1, len(lines)):
        spoilt = lines[at].replace(b',"sum":"', b',"sun":"')
        content = b"".join((*lines[:at], spoilt, *lines[at + 1 :]))
        events, damaged = read(tmp_path / journal.NAME, content)
        assert (events, damaged) == ([*EVENTS[:at], *EVENTS[at + 1 :]], 1)


def test_an_old_journal_that_was_resumed_has_checksums_from_there_on(tmp_path: Path) -> None:
    old = b"".join(journal.encode(event) + b"\n" for event in EVENTS[:4])
    new = b"".join(map(journal.sealed, EVENTS[4:]))
    assert read(tmp_path / journal.NAME, old + new) == (EVENTS, 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"conductor","pid":1,"machine":{"a":%s%s}}' % (b"[" * 100_000, b"]" * 100_000),
        b'{"kind":"conductor","pid":1,"machine":{"a":%s%s}}' % (b"[" * 100, b"]" * 100),
        b'{"kind":"note","text":"x","more":%s%s}' % (b"[" * 100_000, b"]" * 100_000),
        b'{"kind":"conductor","pid":%s,"machine":{}}' % (b"9" * 10_000),
        b'{"kind":"note","text":"x","at":1e999}',
        b'{"kind":"note","text":"x","at":NaN}',
        b'{"kind":"note","text":"\xff"}',
        b"\0" * 300,
    ],
)
def test_a_line_that_no_decoder_takes_is_damaged(tmp_path: Path, line: bytes) -> None:
    old = journal.encode(EVENTS[0]) + b"\n"
    assert read(tmp_path / journal.NAME, old + line + b"\n") == (EVENTS[:1], 1)


def test_a_line_that_is_too_long_is_skipped_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LONGEST_LINE", 10_000)
    long = b"x" * 20_000 + b"\n"
    path = tmp_path / journal.NAME
    first, *others = CONTENT.splitlines(keepends=True)
    path.write_bytes(b"".join((first, long, *others)))
    reader = journal.Reader(path)
    found, before = reader.read(4096), -1
    while reader.offset != before:
        before = reader.offset
        found += reader.read(4096)
    assert (found, reader.damaged) == (EVENTS, 1)


def test_a_line_without_an_end_is_searched_once(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    path.write_bytes(CONTENT + b"x" * (journal.CHUNK + 5))
    reader = journal.Reader(path)
    assert reader.read_all() == EVENTS
    assert reader.read() == []
    with open(path, "ab") as file:
        file.write(b"\n" + journal.sealed(ev.Note(text="after")))
    assert reader.read_all() == [ev.Note(text="after")]
    assert reader.damaged == 1


def test_a_hole_of_a_terabyte_is_passed_at_once(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    path.write_bytes(CONTENT)
    os.truncate(path, 1 << 40)
    with open(path, "ab") as file:
        file.write(b"\n" + journal.sealed(ev.Note(text="after")) + b"torn")
    reader = journal.Reader(path)
    assert reader.read_all() == [*EVENTS, ev.Note(text="after")]
    assert reader.damaged == 1
    journal.mend(path)
    assert path.stat().st_size == reader.offset
    os.truncate(path, 1 << 41)
    journal.mend(path)
    assert path.stat().st_size == reader.offset


def test_epochs_that_exceed_a_line_are_written_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LONGEST_LINE", 2_000)
    writer = journal.Writer(tmp_path / journal.NAME)
    records = tuple(record(number, steps=number) for number in range(1, 21))
    writer.append(ev.EpochsFinished(trial="t", attempt=1, records=records, last=True))
    with pytest.raises(MachineProblem, match="does not fit"):
        writer.append(ev.Note(text="x" * 3_000))
    writer.close()
    _, *parts = journal.Reader(tmp_path / journal.NAME).read_all()
    assert len(parts) > 1
    assert [part.last for part in parts if isinstance(part, ev.EpochsFinished)][-1]
    assert tuple(r for p in parts if isinstance(p, ev.EpochsFinished) for r in p.records) == records


@pytest.mark.parametrize("way", ["pipe", "link", "folder"])
def test_nothing_else_is_read_or_written_in_place_of_a_journal(tmp_path: Path, way: str) -> None:
    path, other = tmp_path / journal.NAME, tmp_path / "mine.txt"
    other.write_bytes(b"a line\nand no end")
    if way == "pipe":
        os.mkfifo(path)
    elif way == "link":
        path.symlink_to(other)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"pipe|regular|Is a directory|is a folder|symbolic|device"):
        journal.Reader(path).read()
    with pytest.raises(OSError, match=r"pipe|regular|Is a directory|is a folder|symbolic|device"):
        journal.Writer(path)
    assert other.read_bytes() == b"a line\nand no end"

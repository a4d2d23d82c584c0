"""A journal that is cut or has a changed byte never gives a wrong result."""

import errno
import os
from pathlib import Path

import pytest

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

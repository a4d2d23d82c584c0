"""The append-only files: the journal and the commands."""

import io
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from batchscope import __version__
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import (
    JOURNAL_VERSION,
    AnyEvent,
    JournalOpened,
    Note,
    Progress,
    TrialEnded,
)
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.spec import Data, Model
from batchscope.engine.sweeps import commands
from batchscope.tui.headless.follower import HeadlessFollower
from batchscope.tui.headless.log_lines import Log
from tests.functional.lab import events_of, recorded

FUZZED = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS: tuple[type[Any], ...] = get_args(AnyEvent)
OPENED = JournalOpened(version=JOURNAL_VERSION, program=__version__)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Generate values that a field of this type can hold and JSON can express."""
    match kind:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(-(2**62) if low is None else low, 2**62 if high is None else high)
        case inspect.FloatType(gt=above, ge=least, lt=below, le=most):
            return st.floats(
                min_value=above if above is not None else least,
                max_value=below if below is not None else most,
                exclude_min=above is not None,
                exclude_max=below is not None,
                allow_nan=False,
                allow_infinity=False,
            )
        case inspect.StrType():
            return st.text()
        case inspect.BytesType():
            return st.binary()
        case inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case inspect.UnionType(types=kinds):
            return st.one_of([values(each) for each in kinds])
        case inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(values(item), min_size=least or 0, max_size=3).map(tuple)
        case inspect.TupleType(item_types=kinds):
            return st.tuples(*(values(each) for each in kinds))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=3)
        case inspect.AnyType():
            return st.none() | st.booleans() | st.integers(-9, 9) | st.text() | st.lists(st.text())
        case inspect.StructType(cls=cls):
            return structs(cls)
    raise NotImplementedError(kind)


def structs(cls: type[Any]) -> st.SearchStrategy[Any]:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: st.deferred(_of(field)) for field in info.fields}
    if cls is Model:
        fields["name"] = st.sampled_from(list(FAMILIES))
    if cls is Data:
        fields["name"] = st.sampled_from(list(DATASETS))
    return st.builds(cls, **fields)


def _of(field: inspect.Field) -> Any:
    return lambda: values(field.type)


EVENTS: st.SearchStrategy[AnyEvent] = st.one_of([structs(kind) for kind in KINDS])
SOME: list[AnyEvent] = [
    Note(text="first", at=1.5),
    Progress(trial="b8-s0", attempt=1, epoch=2, steps=3, samples=4, seconds=0.1),
    Note(text="zweite – \x1b\n\x00", level="warning"),
    TrialEnded(trial="b8-s0", attempt=1, status="finished"),
]


def decodes(line: bytes) -> bool:
    try:
        journal.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=30).filter(lambda line: b"\n" not in line),
    st.sampled_from([b"\x00" * 40, b'{"kind":"note"', b"{}", b"[1]", b'{"kind":"nothing"}', b"1"]),
    st.sampled_from([b'{"kind":"note","text":3}', b"\xff\xfe", b"null", b"NaN", b" ", b"a\rb"]),
    EVENTS.map(journal.encode).map(lambda line: line[:-1]),
).filter(lambda line: not decodes(line))


def lines(events: list[AnyEvent]) -> bytes:
    return b"".join(map(journal.sealed, events))


def new_file(folder: Path, content: bytes) -> Path:
    path = folder / journal.NAME
    path.write_bytes(content)
    return path


# ---- round trips


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_kind_of_event_reads_back_as_it_was_written(tmp_path: Path, kind: type[Any]) -> None:
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(event=structs(kind))
    def round_trip(event: AnyEvent) -> None:
        path = tmp_path / journal.NAME
        path.unlink(missing_ok=True)
        writer = journal.Writer(path)
        writer.append(event)
        writer.close()
        reader = journal.Reader(path)
        assert reader.read_all() == [OPENED, event]
        assert reader.damaged == 0
        assert reader.offset == path.stat().st_size

    round_trip()


def test_an_event_is_always_one_line() -> None:
    line = journal.encode(Note(text="a\nb\r\x0b\x0c\x1c\x85\u2028\u2029\x00c"))
    assert b"\n" not in line
    assert b"\r" not in line
    assert journal.decode(line) == Note(text="a\nb\r\x0b\x0c\x1c\x85\u2028\u2029\x00c")


def test_a_real_journal_reads_back_to_the_same_bytes() -> None:
    content = (recorded().folder / journal.NAME).read_bytes()
    assert lines(events_of(recorded().folder)) == content


def test_the_version_is_the_first_line_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    for _ in range(3):
        journal.Writer(path).close()
    content = path.read_bytes()
    first = f'{{"kind":"journal","version":1,"program":"{__version__}"'
    assert content.startswith(first.encode())
    assert content.count(b"\n") == 1


def test_appended_events_are_visible_at_once(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path / journal.NAME)
    reader = journal.Reader(tmp_path / journal.NAME)
    assert reader.read() == [OPENED]
    for event in SOME:
        writer.append(event)
        assert reader.read() == [event]
        assert reader.read() == []
    writer.close()


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    reader = journal.Reader(tmp_path / journal.NAME)
    assert reader.read() == []
    assert reader.read_all() == []
    new_file(tmp_path, lines(SOME))
    assert reader.read_all() == SOME


# ---- torn and damaged


def test_an_incomplete_last_line_of_any_length_is_cut_off(tmp_path: Path) -> None:
    content = lines([OPENED, *SOME])
    more = Note(text="after")
    for cut in range(len(content) + 1):
        path = new_file(tmp_path, content[:cut])
        writer = journal.Writer(path)
        writer.append(more)
        writer.close()
        kept = [OPENED, *SOME][: content[:cut].count(b"\n")]
        reader = journal.Reader(path)
        assert reader.read_all() == [*(kept or [OPENED]), more]
        assert reader.damaged == 0


def test_a_long_incomplete_line_is_cut_off(tmp_path: Path) -> None:
    path = new_file(tmp_path, lines(SOME) + b"x" * (2 * journal.CHUNK + 5))
    journal.mend(path)
    assert path.read_bytes() == lines(SOME)
    path.write_bytes(b"\x00" * (journal.CHUNK + 1))
    journal.mend(path)
    assert path.read_bytes() == b""


def test_a_reader_returns_complete_lines_only(tmp_path: Path) -> None:
    content = lines(SOME)
    reader = journal.Reader(new_file(tmp_path, b""))
    seen: list[AnyEvent] = []
    for cut in range(len(content) + 1):
        new_file(tmp_path, content[:cut])
        seen += reader.read()
        assert seen == SOME[: content[:cut].count(b"\n")]
    assert reader.damaged == 0


@FUZZED
@given(parts=st.lists(EVENTS | GARBAGE, max_size=8))
def test_damaged_lines_are_skipped_and_counted(
    tmp_path: Path, parts: list[AnyEvent | bytes]
) -> None:
    content = b"".join(
        (part if isinstance(part, bytes) else journal.encode(part)) + b"\n" for part in parts
    )
    reader = journal.Reader(new_file(tmp_path, content))
    assert reader.read_all() == [part for part in parts if not isinstance(part, bytes)]
    assert reader.damaged == sum(isinstance(part, bytes) for part in parts)
    assert reader.offset == len(content)


@FUZZED
@given(
    parts=st.lists(EVENTS | GARBAGE, max_size=8),
    limits=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    tail=st.binary(max_size=9).filter(lambda tail: b"\n" not in tail),
)
def test_small_chunks_give_the_same_events_as_a_large_one(
    tmp_path: Path, parts: list[AnyEvent | bytes], limits: list[int], tail: bytes
) -> None:
    whole = b"".join(
        (part if isinstance(part, bytes) else journal.encode(part)) + b"\n" for part in parts
    )
    path = new_file(tmp_path, whole + tail)
    at_once = journal.Reader(path)
    expected = at_once.read_all()
    reader, found, turn = journal.Reader(path), [], 0
    while reader.offset < len(whole):
        before = reader.offset
        found += reader.read(limits[turn % len(limits)])
        turn += 1
        assert reader.offset > before
    assert found == expected
    assert (reader.damaged, reader.offset) == (at_once.damaged, at_once.offset)
    assert at_once.offset == len(whole)


@FUZZED
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error_and_can_be_appended_to(
    tmp_path: Path, content: bytes
) -> None:
    path = new_file(tmp_path, content)
    before = journal.Reader(path)
    assert len(before.read_all()) + before.damaged == content.count(b"\n")
    writer = journal.Writer(path)
    writer.append(SOME[0])
    writer.close()
    after = journal.Reader(path)
    assert after.read_all()[-1] == SOME[0]
    assert after.damaged == before.damaged


def test_lines_longer_than_a_chunk(tmp_path: Path) -> None:
    long = Note(text="x" * (2 * journal.CHUNK))
    reader = journal.Reader(new_file(tmp_path, lines([SOME[0], long, SOME[1]])))
    assert reader.read_all() == [SOME[0], long, SOME[1]]


def test_damage_longer_than_a_chunk(tmp_path: Path) -> None:
    damage = b"\x00" * (journal.CHUNK + 7) + b"\n"
    content = lines(SOME[:2]) + damage + damage + lines(SOME[2:])
    reader = journal.Reader(new_file(tmp_path, content))
    assert reader.read_all() == SOME
    assert reader.damaged == 2


def test_a_follower_gets_past_damage_longer_than_a_chunk(tmp_path: Path) -> None:
    damage = b"\x00" * (journal.CHUNK + 7) + b"\n"
    new_file(tmp_path, damage + lines(SOME))
    follower = HeadlessFollower(tmp_path, Log("text", io.StringIO()))
    follower.catch_up()
    assert [line.text for line in follower.state.log] == ["first", "zweite – \x1b\n\x00"]


# ---- commands


def test_a_command_reaches_an_inbox_that_was_opened_before_it(tmp_path: Path) -> None:
    commands.send(tmp_path, commands.Stop())
    inbox = commands.Inbox(tmp_path)
    assert inbox.take() == []
    commands.send(tmp_path, commands.Stop())
    commands.send(tmp_path, commands.Stop())
    assert inbox.take() == [commands.Stop(), commands.Stop()]
    assert inbox.take() == []


def test_an_inbox_before_the_first_command(tmp_path: Path) -> None:
    inbox = commands.Inbox(tmp_path)
    assert inbox.take() == []
    commands.send(tmp_path, commands.Stop())
    assert inbox.take() == [commands.Stop()]


def test_an_inbox_skips_unknown_lines_and_waits_for_the_end_of_a_line(
    tmp_path: Path,
) -> None:
    inbox = commands.Inbox(tmp_path)
    path = tmp_path / commands.NAME
    garbage = b'\x00\xff\n{"command":"dance"}\n{"command":3}\n\n[]\n"stop"\n'
    path.write_bytes(garbage + b'{"command":"st')
    assert inbox.take() == []
    with open(path, "ab") as file:
        file.write(b'op"}\n')
    assert inbox.take() == [commands.Stop()]


def test_a_line_without_a_command_is_refused(tmp_path: Path) -> None:
    inbox = commands.Inbox(tmp_path)
    (tmp_path / commands.NAME).write_bytes(b'{}\n{"trial":"b8-s0"}\n')
    assert inbox.take() == []


def test_only_the_owner_can_read_commands(tmp_path: Path) -> None:
    commands.send(tmp_path, commands.Stop())
    assert (tmp_path / commands.NAME).stat().st_mode & 0o777 == 0o600

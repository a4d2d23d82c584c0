"""Files that are broken in every way: never a traceback, never a silent wrong result.

Some two thousand cases here; this runs a hundred thousand:

    BATCHSCOPE_FUZZ=20000 python -m pytest tests/unit/engine/test_fuzzing.py
"""

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchscope.engine.analysis.tables import epoch_rows, norm_rows, to_csv, trial_rows
from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.preset import load_preset, parse_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.findings.findings import find
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.orchestration.command_handler import CommandHandler
from batchscope.engine.orchestration.control import Control
from batchscope.engine.spec import MAX_TRIALS
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.store import SWEEP, sweep_toml
from tests.unit.engine.conductor_fixtures import House
from tests.unit.training_fixtures import (
    conductor,
    configuration,
    ended,
    epochs,
    opened,
    progress,
    record,
    started,
    worker,
)

T = TypeVar("T")
CASES = int(os.environ.get("BATCHSCOPE_FUZZ", "400"))
fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
PRESETS = [path.read_bytes() for path in preset_files().values()]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sgd", "mnist", "auto", "none", "64", "512MiB", "train.lr", "\x1b[31m"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with a few of them changed, cut out, put in or repeated, or the end cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"])):
            case "change" if at < len(found):
                found[at] ^= draw(st.integers(1, 255))
            case "cut":
                del found[at : at + length]
            case "insert":
                found[at:at] = draw(st.binary(max_size=12) | st.sampled_from([b"\n", b'"', b"[["]))
            case "repeat":
                found[at:at] = found[at : at + length]
            case "end":
                del found[at:]
            case _:
                pass
    return bytes(found)


def read(call: Callable[[], T]) -> T | None:
    """What a call returns; None where it says in one clear line why there is nothing."""
    try:
        return call()
    except (UsageProblem, checkpoints.Damaged) as problem:
        message = str(problem)
    assert message.isprintable()
    assert message
    return None


# ---- presets


@pytest.mark.campaign
@fuzzed
@given(st.sampled_from(PRESETS).flatmap(broken))
def test_a_preset_whose_bytes_are_broken(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    preset = read(lambda: load_preset(path))
    assert preset is None or 0 < preset.trial_count <= MAX_TRIALS


def places(table: dict[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every key."""
    found = []
    for key, value in table.items():
        found.append((*before, key))
        if isinstance(value, dict):
            found += places(value, (*before, key))
    return found


@pytest.mark.campaign
@fuzzed
@given(st.sampled_from(PRESETS), st.data())
def test_a_preset_with_values_that_nobody_expects(content: bytes, data: st.DataObject) -> None:
    raw = tomllib.loads(content.decode())
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(raw)))
        table = raw
        for key in path[:-1]:
            table = table[key]
        match data.draw(st.sampled_from(["value", "key", "gone"])):
            case "value":
                table[path[-1]] = data.draw(ANYTHING)
            case "key":
                table[data.draw(st.text(max_size=8))] = data.draw(ANYTHING)
            case _:
                del table[path[-1]]
    found = read(lambda: parse_preset(raw, "mine", "mine.toml"))
    assert found is None or 0 < found.trial_count <= MAX_TRIALS


# ---- journals


def events_of_a_sweep() -> list[ev.AnyEvent]:
    small, large = configuration(32, seeds=2), configuration(64)
    norms = ev.NormSlice(0, 3, 1.5, 0.25, 40, (1, 2))
    return [
        ev.JournalOpened(version=1, program="0"),
        *opened([small, large]),
        worker(0),
        started(small),
        progress(small, steps=5, at=1.0),
        epochs(small, record(1, steps=45, norms=[norms]), record(2, steps=90, norms=[norms])),
        ev.MicroBatchCut(trial="b32-s0", attempt=1, steps=50, size=16),
        ended(small, at=9.0),
        ev.Note(text="a word"),
        started(small, seed=1, at=10.0),
        conductor(at=11.0),
        msgspec.structs.replace(
            started(small, seed=1, at=12.0, attempt=2), resumed_steps=45, resumed_epochs=1
        ),
        epochs(large, record(1, steps=23, norms=[norms]), at=13.0),
        ev.MemorySampled(device="cpu", name="cpu", total=9, ours=1, others=2),
        ev.SweepEnded(state="stopped", seconds=14.0, trials=3, finished=1, failed=0),
    ]


JOURNAL = b"".join(map(journal.sealed, events_of_a_sweep()))
TRUE = events_of_a_sweep()
LINES = frozenset(JOURNAL.splitlines())


@pytest.mark.campaign
@fuzzed
@given(broken(JOURNAL))
def test_a_journal_whose_bytes_are_broken(tmp_path: Path, content: bytes) -> None:
    """Whole lines count, all others are counted; a writer goes on on a line of its own."""
    path = tmp_path / journal.NAME
    path.write_bytes(content)
    reader = journal.Reader(path)
    events = reader.read_all()
    assert len(events) + reader.damaged == content.count(b"\n")
    whole = [line for line in content.split(b"\n")[:-1] if line in LINES]
    assert len(events) >= len(whole)
    if content.count(journal.SUM) >= content.count(b"\n"):  # no line lost its sum as well
        assert all(event in TRUE for event in events), "a changed figure was taken for true"
    state = SweepState().fold(events)
    for columns, rows in ((TRIAL_COLUMNS, trial_rows), (("epoch",), epoch_rows), ((), norm_rows)):
        to_csv(columns, rows(state))
    find(state)
    writer = journal.Writer(path)
    writer.append(ev.Note(text="the next"))
    writer.close()
    again = journal.Reader(path).read_all()
    assert again[-1] == ev.Note(text="the next")
    assert again[: len(events)] == events


# ---- commands


ASKED: list[commands.AnyCommand] = [
    *(commands.Pause(), commands.Continue(), commands.Skip("b64-s0"), commands.Retry("b64-s0")),
    *(commands.Add(96), commands.Skip("b8-s1"), commands.Stop()),
]
COMMANDS = b"".join(commands.encode(command) + b"\n" for command in ASKED)


@pytest.mark.campaign
@fuzzed
@given(broken(COMMANDS))
def test_commands_whose_bytes_are_broken(tmp_path: Path, content: bytes) -> None:
    """Whatever can be read is obeyed or refused in the log, and the next whole one always heard."""
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    house, control = House(tmp_path), Control()
    (tmp_path / SWEEP).write_bytes(sweep_toml(house.queue.preset))
    servant = CommandHandler(tmp_path, house.ledger, house.queue, control)
    path = tmp_path / commands.NAME
    path.write_bytes(b"")
    inbox = commands.Inbox(tmp_path)
    path.write_bytes(content)
    for command in inbox.take():
        servant.do(command)
    assert all(line.text.isprintable() for line in house.ledger.state.log)
    house.ledger.close()
    with open(path, "ab") as file:
        file.write(b"\n")
    inbox.take()
    commands.send(tmp_path, commands.Stop())
    assert inbox.take() == [commands.Stop()]


# ---- checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoints.write(folder, 2, 33, bytes(range(200)))
    return (folder / checkpoints.CURRENT).read_bytes()


@pytest.mark.campaign
@fuzzed
@given(st.data())
def test_a_checkpoint_whose_bytes_are_broken(
    tmp_path: Path, checkpoint: bytes, data: st.DataObject
) -> None:
    """It is what was written, or known to be damaged; and it never holds the next one back."""
    path = tmp_path / checkpoints.CURRENT
    content = data.draw(broken(checkpoint))
    path.write_bytes(content)
    found = read(lambda: checkpoints.read(path))
    assert (found is not None) == (content == checkpoint)
    assert found is None or found[1] == bytes(range(200))
    checkpoints.write(tmp_path, 3, 40, b"next")
    assert checkpoints.read(path)[1] == b"next"

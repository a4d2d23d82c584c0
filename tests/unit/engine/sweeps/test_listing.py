"""The states of stored sweeps, and that listing again reads only new events."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import (
    AnyEvent,
    ConductorStarted,
    MemorySampled,
    Progress,
    SweepContinued,
    SweepEnded,
    SweepOpened,
    SweepPaused,
    TrialEnded,
)
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.listing import BESIDE, Fold, Listing, describe, stored_sweeps
from batchscope.engine.sweeps.store import (
    LOCK,
    Launch,
    create_sweep,
    digest_of,
    home_folder,
    sweep_toml,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_folder(str(tmp_path))


def sweep(home: Path, *events: AnyEvent) -> Path:
    """Two trials of quickstart, opened, and what happened to them."""
    preset = find_preset("quickstart", ["seeds=1", "grid.batch_size=[8, 16]"])
    folder = create_sweep(home, preset, Launch(preset="quickstart"))
    opened = SweepOpened(
        id=folder.name,
        preset=preset.name,
        title=preset.title,
        question="?",
        source="",
        configurations=preset.configurations,
    )
    append(folder, opened, ConductorStarted(pid=1, machine={}), *events)
    return folder


def append(folder: Path, *events: AnyEvent) -> None:
    writer = journal.Writer(folder / journal.NAME)
    for event in events:
        writer.append(event)
    writer.close()


def ended(trial: str) -> TrialEnded:
    return TrialEnded(trial=trial, attempt=1, status="finished")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    with open(folder / LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Offsets from which a journal has been read for a fold."""
    offsets: list[int] = []
    whole = journal.Reader.read

    def noted(self: journal.Reader, limit: int = journal.CHUNK) -> list[AnyEvent]:
        offsets.append(self.offset)
        return whole(self, limit)

    monkeypatch.setattr(journal.Reader, "read", noted)
    return offsets


def test_listing_again_equals_a_new_listing(home: Path) -> None:
    listing = Listing(home)
    assert listing.look() == []
    folder = sweep(home)
    with held(folder):
        for event in (ended("b8-s0"), ended("b16-s0")):
            assert listing.look() == stored_sweeps(home) == [describe(folder)]
            append(folder, event)
        found = listing.look()
        assert found == stored_sweeps(home)
        assert (found[0].state, found[0].finished, found[0].alive) == ("running", 2, True)
    assert listing.look() == stored_sweeps(home)
    assert listing.look()[0].state == "interrupted"
    append(folder, SweepEnded(state="finished", seconds=3.0, trials=2, finished=2, failed=0))
    found = listing.look()
    assert found == stored_sweeps(home)
    assert (found[0].state, found[0].seconds, found[0].alive) == ("finished", 3.0, False)


def test_of_a_running_sweep_only_new_events_are_read(home: Path, read: list[int]) -> None:
    folder = sweep(home)
    listing = Listing(home)
    with held(folder):
        listing.look()
        size = (folder / journal.NAME).stat().st_size
        read.clear()
        append(folder, ended("b8-s0"))
        assert listing.look()[0].finished == 1
        assert min(read) == size


def test_a_sweep_without_a_conductor_is_read_once(home: Path, read: list[int]) -> None:
    interrupted = sweep(home, ended("b8-s0"))
    listing = Listing(home)
    first = listing.look()
    read.clear()
    assert listing.look()[0] is first[0]
    assert read == []
    with held(interrupted):
        assert listing.look()[0].state == "running"
    assert listing.look()[0].state == "interrupted"


def test_resumed_and_deleted_sweeps_are_noticed(home: Path) -> None:
    ending = SweepEnded(state="stopped", seconds=3.0, trials=2, finished=0, failed=0)
    folder, other = sweep(home, ending), sweep(home, ending)
    listing = Listing(home)
    assert [found.state for found in listing.look()] == ["stopped", "stopped"]
    append(folder, ConductorStarted(pid=2, machine={}))
    with held(folder):
        assert sorted(found.state for found in listing.look()) == ["running", "stopped"]
    other.rename(home / "elsewhere")
    assert [found.id for found in listing.look()] == [folder.name]


def test_a_paused_sweep_is_listed_as_paused(home: Path) -> None:
    folder = sweep(home, SweepPaused())
    listing = Listing(home)
    with held(folder):
        assert listing.look()[0].state == "paused"
        append(folder, SweepContinued())
        assert listing.look()[0].state == "running"


def test_the_digest_depends_on_the_preset(home: Path) -> None:
    same = find_preset("quickstart")
    for preset in (same, same, find_preset("quickstart", ["train.epochs=3"])):
        create_sweep(home, preset, Launch(preset="quickstart"))
    digests = [found.digest for found in Listing(home).look()]
    assert digests.count(digest_of(sweep_toml(same))) == 2
    assert len(set(digests)) == 2


def test_the_size_is_that_of_all_files_below(home: Path) -> None:
    folder = sweep(home)
    (folder / "export").mkdir()
    (folder / "export" / "trials.csv").write_bytes(b"x" * 5000)
    expected = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    listing = Listing(home)
    assert listing.look()[0].bytes == expected
    (folder / "conductor.log").write_bytes(b"x" * 7)
    assert listing.look()[0].bytes == expected + 7


def test_skipped_events_change_no_state(home: Path) -> None:
    """The fold without figures, against the fold of everything."""
    progress = Progress(trial="b8-s0", attempt=1, epoch=1, steps=1, samples=8, seconds=1.0)
    memory = MemorySampled(device="cpu", name="x", total=1, ours=1, others=0)
    folder = sweep(home, progress, memory, ended("b8-s0"), progress)
    light = Fold(folder).advance()
    whole = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
    assert whole.memory
    assert not light.memory
    for alive in (True, False):
        assert light.phase(alive) == whole.phase(alive)
    assert {t.id: t.status for t in light.trials.values()} == {
        t.id: t.status for t in whole.trials.values()
    }


def test_skipped_lines_are_recognised_as_written(home: Path) -> None:
    """The kind stands first on a line: that is what telling it by its first bytes relies on."""
    progress = Progress(trial="b8-s0", attempt=1, epoch=1, steps=1, samples=8, seconds=1.0)
    folder = sweep(home, progress)
    reader = journal.Reader(folder / journal.NAME, without=BESIDE)
    kinds = [type(event).__name__ for event in reader.read_all()]
    assert kinds == ["JournalOpened", "SweepOpened", "ConductorStarted"]
    assert reader.offset == (folder / journal.NAME).stat().st_size
    assert reader.damaged == 0

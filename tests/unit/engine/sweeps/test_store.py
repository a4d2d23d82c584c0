"""Stored sweeps: where they are stored, how they are found, and messages about them."""

import fcntl
import re
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.errors import MachineProblem, Problem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import ConductorStarted, SweepEnded, TrialEnded, WorkerReady
from batchscope.engine.sweeps.listing import StoredSweep, describe, stored_sweeps
from batchscope.engine.sweeps.store import (
    LAUNCH,
    LOCK,
    SWEEP,
    Launch,
    conductor_lives,
    create_sweep,
    digest_of,
    find_sweep,
    home_folder,
    load_state,
    read_launch,
    sweep_folders,
)
from tests.messages import says
from tests.unit.engine.sweeps.store_fixtures import (
    created,
    held,
    home,
    opened,
    refusal,
    small,
    write,
)

# ---- the home


def test_the_home_is_the_option_the_variable_or_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHSCOPE_HOME", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert home_folder(str(tmp_path / "asked")) == tmp_path / "asked"
    assert home_folder(None) == tmp_path / "variable"
    monkeypatch.delenv("BATCHSCOPE_HOME")
    assert home_folder() == tmp_path / "state" / "batchscope"
    for name in ("asked", "variable", "state/batchscope"):
        assert {path.name for path in (tmp_path / name).iterdir()} == {"sweeps", "data"}


def test_the_home_is_private(tmp_path: Path) -> None:
    found = home(tmp_path)
    for folder in (found, found / "sweeps", found / "data"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert created(tmp_path).stat().st_mode & 0o777 == 0o700


def test_the_home_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_folder("~/mine") == tmp_path / "mine"


def test_a_home_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_folder("mine") == tmp_path / "mine"


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_home_that_cannot_be_created(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    message = refusal(lambda: home_folder(str(tmp_path / name)), MachineProblem)
    assert message.startswith(f"{tmp_path / name}: cannot be used ")
    assert message.endswith("choose another folder with --home or $BATCHSCOPE_HOME")


# ---- creating


def test_a_new_sweep_has_preset_and_launch(tmp_path: Path) -> None:
    launch = Launch(preset="quickstart", device="cpu", workers=3, data_dir="/data")
    preset = small()
    folder = create_sweep(home(tmp_path), preset, launch)
    assert folder.parent == home(tmp_path) / "sweeps"
    assert re.fullmatch(r"\d{8}-\d{6}-quickstart", folder.name)
    assert replace(read_launch(folder), notes=()) == launch
    stored = load_preset(folder / SWEEP)
    assert stored.name == "quickstart"
    assert stored.configurations == preset.configurations
    assert (stored.title, stored.question, stored.source) == (
        preset.title,
        preset.question,
        preset.source,
    )


def test_sweeps_of_one_second_have_different_names(tmp_path: Path) -> None:
    folders = [created(tmp_path) for _ in range(5)]
    assert len(set(folders)) == 5
    assert sweep_folders(home(tmp_path)) == list(reversed(folders))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("my sweep / of ../ things", "my-sweep-of-..-things"),
        ("日本", "preset"),
        ("...", "preset"),
        ("\x1b[31mred", "31mred"),
        ("x" * 300, "x" * 40),
    ],
)
def test_any_name_becomes_a_folder_below_the_home(tmp_path: Path, name: str, slug: str) -> None:
    folder = created(tmp_path, name)
    assert folder.name.endswith(f"-{slug}")
    assert folder.parent == home(tmp_path) / "sweeps"
    assert folder.is_dir()


def test_stored_texts_read_back_unchanged(tmp_path: Path) -> None:
    title = "quotes \"' \\ and\ttabs, [markup], \x1b[31m and 日本"
    folder = create_sweep(home(tmp_path), small(f"title={title}"), Launch(preset="x"))
    assert load_preset(folder / SWEEP).raw["title"] == title


@pytest.mark.parametrize("field", ["preset", "data_dir"])
def test_names_that_are_not_utf8_create_no_sweep(tmp_path: Path, field: str) -> None:
    """The words of a command line may hold any bytes (here \\xff), and so may file names."""
    launch = Launch(**{"preset": "x", field: "\udcff"})  # type: ignore[arg-type]
    try:
        folder = create_sweep(home(tmp_path), small(), launch)
    except Problem:
        assert list((home(tmp_path) / "sweeps").iterdir()) == []
    else:
        assert read_launch(folder) == launch


def test_a_title_that_is_not_utf8_creates_no_sweep(tmp_path: Path) -> None:
    try:
        folder = create_sweep(home(tmp_path), small("title=\udcff"), Launch(preset="x"))
    except Problem:
        assert list((home(tmp_path) / "sweeps").iterdir()) == []
    else:
        assert load_preset(folder / SWEEP).title == "�"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"preset":"x","more":1}', b"\xff"])
def test_a_launch_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    folder = created(tmp_path)
    (folder / LAUNCH).write_bytes(content)
    assert says(refusal(lambda: read_launch(folder)), f"{folder}: | no readable sweep | {LAUNCH}")


# ---- whether it lives


def test_a_sweep_is_running_while_its_lock_is_held(tmp_path: Path) -> None:
    folder = created(tmp_path)
    assert not conductor_lives(folder)
    with held(folder):
        assert conductor_lives(folder)
        assert conductor_lives(folder)
    assert (folder / LOCK).exists()
    assert not conductor_lives(folder)


def test_a_sweep_is_running_while_a_child_holds_the_lock(tmp_path: Path) -> None:
    folder = created(tmp_path)
    with open(folder / LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    assert conductor_lives(folder)
    child.communicate()
    assert not conductor_lives(folder)


# ---- finding


def test_a_sweep_is_found_by_id_or_a_part(tmp_path: Path) -> None:
    first, second = created(tmp_path, "one"), created(tmp_path, "two")
    place = home(tmp_path)
    assert find_sweep(place, first.name) == first
    assert find_sweep(place, second.name) == second
    assert find_sweep(place, "one") == first
    assert find_sweep(place, second.name[:-1]) == second


def test_an_exact_id_is_preferred(tmp_path: Path) -> None:
    first = created(tmp_path, "a")
    longer = first.with_name(f"{first.name}b")
    first.rename(longer)
    first.mkdir()
    for name in (LAUNCH, SWEEP):
        (first / name).write_bytes((longer / name).read_bytes())
    assert find_sweep(home(tmp_path), first.name) == first


def test_an_ambiguous_id(tmp_path: Path) -> None:
    folders = [created(tmp_path, "same") for _ in range(5)]
    message = refusal(lambda: find_sweep(home(tmp_path), "same"))
    assert message.startswith("'same' matches 5 sweeps: ")
    assert all(folder.name in message for folder in folders)
    folders += [created(tmp_path, "same") for _ in range(5)]
    message = refusal(lambda: find_sweep(home(tmp_path), "-sam"))
    assert message.startswith("'-sam' matches 10 sweeps: ")
    assert sum(f"{folder.name}," in f"{message}," for folder in folders) >= 7
    assert "and 2 more" in message


def test_any_part_that_fits_one_sweep_only_finds_it(tmp_path: Path) -> None:
    first, second = created(tmp_path, "lr-grid"), created(tmp_path, "noise")
    place = home(tmp_path)
    assert find_sweep(place, "r-gri") == first
    assert find_sweep(place, "-nois") == second
    third = created(tmp_path, "noise-lr")
    assert find_sweep(place, "noise-l") == third
    assert find_sweep(place, "noise") == second  # the end of an id, as it was always found
    message = refusal(lambda: find_sweep(place, "ois"))
    assert says(message, f"'ois' matches 2 sweeps | {second.name}; | {third.name}, ")


def test_an_unknown_id(tmp_path: Path) -> None:
    place = home(tmp_path)
    expected = "no stored sweep 'nope' | `batchscope list`"
    assert says(refusal(lambda: find_sweep(place, "nope")), expected)
    folder = created(tmp_path)
    typo = folder.name.replace("quickstart", "quickstrat")
    expected = f"no stored sweep '{typo}'; did you mean '{folder.name}'?"
    assert refusal(lambda: find_sweep(place, typo)) == expected
    assert refusal(lambda: find_sweep(place, "\x1b[2J")).startswith("no stored sweep '�[2J'")


def test_without_an_id_the_running_or_newest_sweep_is_found(tmp_path: Path) -> None:
    place = home(tmp_path)
    assert says(refusal(lambda: find_sweep(place, None)), f"no sweep | {place}")
    first, second, third = (created(tmp_path) for _ in range(3))
    assert find_sweep(place, None) == third
    with held(first):
        assert find_sweep(place, None) == first
        with held(second):
            assert find_sweep(place, None) == second


# ---- describing


def test_a_sweep_that_never_started(tmp_path: Path) -> None:
    folder = created(tmp_path)
    assert describe(folder) == StoredSweep(
        id=folder.name,
        preset="quickstart",
        state="interrupted",
        trials=0,
        finished=0,
        seconds=None,
        title="",
        folder=str(folder),
        bytes=sum(path.stat().st_size for path in folder.iterdir()),
        digest=digest_of((folder / SWEEP).read_bytes()),
    )


def test_the_states_of_a_sweep(tmp_path: Path) -> None:
    folder, preset = created(tmp_path), small()
    ready = WorkerReady(
        worker=0, device="cpu", device_name="cpu", pid=1, threads=1, versions={}, seconds=1.0
    )
    write(folder, opened(folder, preset), ConductorStarted(pid=1, machine={}))
    with held(folder):
        assert describe(folder).state == "running"
        write(folder, ready, TrialEnded(trial="b8-s0", attempt=1, status="finished"))
        found = describe(folder)
    assert (found.state, found.trials, found.finished, found.seconds) == ("running", 2, 1, None)
    assert found.title == preset.title
    assert describe(folder).state == "interrupted"
    write(folder, SweepEnded(state="stopped", seconds=2.5, trials=2, finished=1, failed=0))
    with held(folder):
        assert describe(folder).state == "running"
    found = describe(folder)
    assert (found.state, found.trials, found.finished, found.seconds) == ("stopped", 2, 1, 2.5)
    assert found.title == preset.title
    write(folder, ConductorStarted(pid=2, machine={}))
    assert describe(folder).state == "interrupted"


def test_a_sweep_of_many_configurations_has_its_title(tmp_path: Path) -> None:
    preset = small(f"grid.batch_size={list(range(1, 200))}")
    folder = created(tmp_path, preset=preset)
    ended = SweepEnded(state="finished", seconds=2.5, trials=199, finished=199, failed=0)
    write(folder, opened(folder, preset), ended)
    assert load_state(folder).opened is not None
    assert describe(folder).title == preset.title


def test_an_end_with_a_long_reason(tmp_path: Path) -> None:
    folder, preset = created(tmp_path), small()
    ended = SweepEnded(
        state="failed", seconds=2.5, trials=2, finished=0, failed=0, reason="x" * 9000
    )
    write(folder, opened(folder, preset), ended)
    assert describe(folder).state == "failed"


def test_a_truncated_journal_is_described_by_its_complete_lines(tmp_path: Path) -> None:
    folder, preset = created(tmp_path), small()
    ended = SweepEnded(state="finished", seconds=2.5, trials=2, finished=2, failed=0)
    done = [TrialEnded(trial=f"b{size}-s0", attempt=1, status="finished") for size in (8, 16)]
    write(folder, opened(folder, preset), *done, ended)
    path = folder / journal.NAME
    path.write_bytes(path.read_bytes()[:-5])
    found = describe(folder)
    assert (found.state, found.trials, found.finished) == ("interrupted", 2, 2)


def test_folders_without_a_sweep_are_skipped(tmp_path: Path) -> None:
    place = home(tmp_path)
    good = created(tmp_path)
    (place / "sweeps" / "other").mkdir()
    (place / "sweeps" / "file").write_text("")
    assert [sweep.id for sweep in stored_sweeps(place)] == [good.name]

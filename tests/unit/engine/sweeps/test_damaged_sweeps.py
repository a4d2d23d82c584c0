"""A sweep with a damaged file is shown, opened as far as it goes, and deleted."""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchscope.engine.comparison.sources import opened as compared
from batchscope.engine.errors import MachineProblem, Problem, UsageProblem
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps import launcher
from batchscope.engine.sweeps.deletion import delete_sweep
from batchscope.engine.sweeps.launcher import last_line, refuse_damaged, start_conductor
from batchscope.engine.sweeps.listing import describe, stored_sweeps
from batchscope.engine.sweeps.store import (
    LAUNCH,
    LOCK,
    SWEEP,
    Launch,
    create_sweep,
    find_sweep,
    load_state,
    read_launch,
    sweep_folders,
)
from batchscope.engine.sweeps.sweep_file import read_preset, refuse_other_experiment
from batchscope.tui.viewmodel.journal_follower import JournalFollower
from tests.messages import says
from tests.unit.engine.sweeps.damage_fixtures import (
    WAYS,
    Replacing,
    directory,
    enlarged,
    finished,
    flipped,
    pipe,
)
from tests.unit.engine.sweeps.store_fixtures import home, opened, refusal, small, write

FILES = (LAUNCH, SWEEP, journal.NAME, LOCK, launcher.LOG, "notice.txt", "commands.jsonl")
TABLES = ("trials.csv", "epochs.csv", "findings.json")


def exported(folder: Path, name: str) -> dict[str, bytes]:
    out = folder.parents[2] / name
    write_export(folder, out, report=False)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_each_file_replaced_in_each_way(tmp_path: Path, name: str, way: Replacing) -> None:
    folder, other = finished(tmp_path), finished(tmp_path)
    whole = exported(folder, "whole")
    path = folder / name
    if name not in (LAUNCH, SWEEP, journal.NAME):
        path.write_bytes(b"something\n")
    way(path)
    sweeps = {each.id: each for each in stored_sweeps(home(tmp_path))}
    assert set(sweeps) == {folder.name, other.name}
    assert sweeps[other.name].problem == ""
    assert find_sweep(home(tmp_path), folder.name) == folder
    sweep = sweeps[folder.name]
    if name in (LAUNCH, SWEEP):
        assert name in sweep.problem
        assert (sweep.state, sweep.finished, sweep.title) == ("finished", 2, small().title)
        assert name in refusal(lambda: refuse_damaged(folder))
    if name == LAUNCH:
        assert sweep.preset == "quickstart"
    JournalFollower(folder).load()
    try:
        found = exported(folder, "damaged")
    except Problem as problem:
        found = {}
        if name not in str(problem):
            raise
    if found and load_state(folder).trials:
        manifest = msgspec.json.decode(found["manifest.json"])
        differs = [each for each in TABLES if found[each] != whole[each]]
        assert not differs or manifest["damaged_files"] or not manifest["complete"]
        compared(f"{folder}/", lambda: home(tmp_path))
    elif found:
        assert msgspec.json.decode(found["manifest.json"])["complete"] is False
    before = sorted(each for each in tmp_path.iterdir())
    delete_sweep(folder)
    assert sweep_folders(home(tmp_path)) == [other]
    assert sorted(tmp_path.iterdir()) == before, "what a link leads to is kept"


@pytest.mark.parametrize("name", [LAUNCH, SWEEP])
def test_every_changed_bit_is_noticed_or_changes_nothing(tmp_path: Path, name: str) -> None:
    folder = finished(tmp_path)
    path = folder / name
    whole, launch, state = path.read_bytes(), read_launch(folder), load_state(folder)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        sweep = describe(folder)
        assert sweep.state == "finished"
        if not sweep.problem:
            assert read_launch(folder) == launch
            refuse_damaged(folder)
            assert sweep.digest == describe(folder).digest
        path.write_bytes(whole)
    assert load_state(folder).opened == state.opened


@pytest.mark.parametrize("name", [LAUNCH, SWEEP])
def test_every_cut_is_noticed(tmp_path: Path, name: str) -> None:
    folder = finished(tmp_path)
    whole = (folder / name).read_bytes()
    for length in range(len(whole)):
        (folder / name).write_bytes(whole[:length])
        assert name in describe(folder).problem, length


def test_old_files_without_checksums_still_open(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    launch = read_launch(folder)
    (folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    first, _, rest = (folder / SWEEP).read_bytes().partition(b"\n")
    assert first.startswith(b"# sum: ")
    digest = describe(folder).digest
    (folder / SWEEP).write_bytes(rest)
    assert read_launch(folder) == launch
    assert (describe(folder).problem, describe(folder).digest) == ("", digest)
    refuse_damaged(folder)


def test_a_launch_file_that_a_person_writes_in_place_of_a_damaged_one(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    flipped(folder / LAUNCH)
    message = refusal(lambda: start_conductor(folder))
    assert says(message, f"{folder.name}: {LAUNCH} is damaged: | so device, | --export DIR")
    (folder / LAUNCH).write_text(message[message.index("{") : message.index("}") + 1])
    refuse_damaged(folder)
    assert read_launch(folder) == Launch(preset="quickstart")


# ---- the line about the experiment


def line_of(folder: Path, kind: str) -> int:
    lines = (folder / journal.NAME).read_bytes().splitlines()
    return next(
        at for at, line in enumerate(lines) if line.startswith(b'{"kind":"%s"' % kind.encode())
    )


def spoil(folder: Path, kind: str) -> None:
    """Change one bit of the first line of a kind."""
    path = folder / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    at = line_of(folder, kind)
    lines[at] = lines[at].replace(b'"kind"', b'"kinl"', 1)
    path.write_bytes(b"".join(lines))


def test_a_damaged_experiment_is_rebuilt_from_the_preset(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    expected, whole = load_state(folder), exported(folder, "whole")
    assert expected.opened is not None
    spoil(folder, "sweep")
    state = load_state(folder)
    assert state.opened is not None
    undated = msgspec.structs.replace(state.opened, at=0.0)
    assert undated == msgspec.structs.replace(expected.opened, at=0.0)
    assert {name: trial.status for name, trial in state.trials.items()} == {
        name: trial.status for name, trial in expected.trials.items()
    }
    assert (state.rebuilt, state.lost) == (True, 1)
    found = exported(folder, "damaged")
    assert found["trials.csv"] == whole["trials.csv"]
    assert msgspec.json.decode(found["manifest.json"])["damaged_journal_lines"] == 1
    sweep = describe(folder)
    assert (sweep.state, sweep.finished, sweep.title) == ("finished", 2, small().title)
    assert "damaged line" in sweep.problem
    there = compared(str(tmp_path / "damaged"), lambda: home(tmp_path))
    assert (there.id, there.damaged, len(there.state.trials)) == (folder.name, 1, 2)


def test_configurations_that_were_added_later_stay_added(tmp_path: Path) -> None:
    preset, more = small(), small("grid.batch_size=[8, 16, 32]")
    folder = create_sweep(home(tmp_path), more, Launch(preset="quickstart"))
    new = tuple(each for each in more.configurations if each not in preset.configurations)
    write(folder, opened(folder, preset), ev.ConductorStarted(pid=1, machine={}))
    write(folder, ev.ConfigurationsAdded(configurations=new))
    before = load_state(folder)
    spoil(folder, "sweep")
    state = load_state(folder)
    assert (list(state.trials), state.added) == (list(before.trials), before.added)


def test_a_preset_that_contradicts_the_journal_replaces_nothing(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    other = create_sweep(home(tmp_path), small("grid.batch_size=[8]"), Launch(preset="x"))
    spoil(folder, "sweep")
    shutil.copy(other / SWEEP, folder / SWEEP)
    state = load_state(folder)
    assert (state.opened, state.trials) == (None, {})
    out = tmp_path / "out"
    message = refusal(lambda: write_export(folder, out, report=False))
    assert says(message, f"{folder / journal.NAME}: | experiment is damaged, | nothing to export")
    assert not out.exists()
    assert describe(folder).state == "damaged" or "damaged" in describe(folder).problem
    delete_sweep(folder)


def test_both_damaged(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    spoil(folder, "sweep")
    flipped(folder / SWEEP)
    sweep = describe(folder)
    assert SWEEP in sweep.problem
    assert journal.NAME in sweep.problem
    with pytest.raises(UsageProblem):
        write_export(folder, tmp_path / "out", report=False)
    assert says(
        refusal(lambda: refuse_damaged(folder)),
        f"{folder / SWEEP}: is damaged: | cannot be resumed;",
    )


def test_a_damaged_preset_still_exports(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    whole = exported(folder, "whole")
    flipped(folder / SWEEP)
    found = exported(folder, "damaged")
    assert {name for name in whole if whole[name] != found[name]} == {SWEEP, "manifest.json"}
    assert msgspec.json.decode(found["manifest.json"])["damaged_files"] == [SWEEP]
    assert found[SWEEP].startswith(b"# This is no preset")


# ---- what is lost elsewhere


def test_a_trial_whose_end_is_lost_is_said_to_be_damaged(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    spoil(folder, "ended")
    trial = load_state(folder).trials["b8-s0"]
    assert (trial.status, "damaged" in trial.reason) == ("failed", True)


def test_a_trial_whose_start_is_lost_says_so(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    spoil(folder, "started")
    trial = load_state(folder).trials["b8-s0"]
    assert (trial.status, "damaged" in trial.reason, len(trial.records)) == ("finished", True, 0)
    exported(folder, "out")


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    lines = (folder / journal.NAME).read_bytes().splitlines(keepends=True)
    lines[0] = journal.sealed(ev.JournalOpened(version=2, program="9.0"))
    (folder / journal.NAME).write_bytes(b"".join(lines))
    for action in (
        lambda: load_state(folder),
        lambda: write_export(folder, tmp_path / "out", report=False),
        lambda: compared(f"{folder}/", lambda: home(tmp_path)),
    ):
        assert says(refusal(action), f"{folder / journal.NAME}: version 2 needs")
    assert "later batchscope" in JournalFollower(folder).load()[1].problem


def test_the_journal_of_another_sweep_at_its_end_changes_no_figure(tmp_path: Path) -> None:
    folder, other = finished(tmp_path), finished(tmp_path)
    expected = exported(folder, "whole")
    with open(folder / journal.NAME, "ab") as file:
        file.write((other / journal.NAME).read_bytes())
    found = exported(folder, "twice")
    assert {name: found[name] for name in TABLES} == {name: expected[name] for name in TABLES}
    assert msgspec.json.decode(found["manifest.json"])["damaged_journal_lines"] > 0


# ---- folders


def test_folders_without_a_launch_file_are_shown_and_deleted(tmp_path: Path) -> None:
    good = finished(tmp_path)
    sweeps = home(tmp_path) / "sweeps"
    empty, partial = sweeps / "20270101-000000-empty", sweeps / "named-otherwise"
    empty.mkdir()
    partial.mkdir()
    (partial / SWEEP).write_text('title = "x"\n')
    (sweeps / "other").mkdir()
    (sweeps / "20270101-000000-x.txt").write_text("a person's note")
    found = {each.id: each for each in stored_sweeps(home(tmp_path))}
    assert set(found) == {good.name, empty.name, partial.name}
    for folder in (empty, partial):
        assert (found[folder.name].state, LAUNCH in found[folder.name].problem) == ("damaged", True)
        delete_sweep(folder)
    assert sweep_folders(home(tmp_path)) == [good]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_an_unreadable_folder_hides_no_other(tmp_path: Path) -> None:
    good, closed = finished(tmp_path), finished(tmp_path)
    closed.chmod(0)
    found = {each.id: each.problem for each in stored_sweeps(home(tmp_path))}
    assert (found[good.name], "Permission" in found[closed.name]) == ("", True)
    delete_sweep(closed)
    assert sweep_folders(home(tmp_path)) == [good]


def test_of_a_link_to_a_folder_only_the_link_is_deleted(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    sweep = describe(folder)
    assert (sweep.state, "link" in sweep.problem) == ("finished", True)
    assert "link" in refusal(lambda: refuse_damaged(folder))
    delete_sweep(folder)
    assert sweep_folders(home(tmp_path)) == []
    assert (elsewhere / journal.NAME).is_file()
    folder.symlink_to(tmp_path / "nowhere")
    assert describe(folder).state == "damaged"
    delete_sweep(folder)
    assert not os.path.lexists(folder)


def test_folders_in_a_sweep_that_cannot_be_written_are_deleted(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    inner = folder / "trials" / "b8"
    inner.mkdir(parents=True)
    (inner / "checkpoint.pt").write_bytes(b"x")
    inner.chmod(0o500)
    (folder / "trials").chmod(0o500)
    folder.chmod(0o500)
    delete_sweep(folder)
    assert sorted(path.name for path in home(tmp_path).iterdir()) == ["data", "sweeps"]


def test_checkpoints_that_this_program_did_not_mark_are_kept(tmp_path: Path) -> None:
    """A changed launch file may name any folder."""
    folder = finished(tmp_path)
    mine = tmp_path / f"{folder.name}-mine"
    (mine / "trials").mkdir(parents=True)
    (mine / "trials" / "thesis.txt").write_text("years of work")
    launch = Launch(preset="x", on="auto", checkpoints=str(mine))
    (folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    delete_sweep(folder)
    assert (mine / "trials" / "thesis.txt").read_text() == "years of work"


def test_of_marked_checkpoints_only_what_is_ours_is_deleted(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    mine = tmp_path / f"{folder.name}-mine"
    (mine / "trials").mkdir(parents=True)
    (mine / "batchscope-sweep").touch()
    (mine / "thesis.txt").write_text("years of work")
    launch = Launch(preset="x", on="auto", checkpoints=str(mine))
    (folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    delete_sweep(folder)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


# ---- a disk that refuses


def refuse_files(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refusing(descriptor: int, data: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("batchscope.engine.sweeps.sweep_file.os.write", refusing)


def test_a_launch_on_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = home(tmp_path)
    with monkeypatch.context() as context:
        refuse_files(context, 28)
        with pytest.raises(MachineProblem, match="No space left"):
            create_sweep(place, small(), Launch(preset="x"))
    assert list((place / "sweeps").iterdir()) == []


def test_what_a_killed_launch_left_is_cleared(tmp_path: Path) -> None:
    place = home(tmp_path)
    left = place / "sweeps" / ".new-abcdefgh"
    left.mkdir()
    (left / SWEEP).write_text("")
    assert stored_sweeps(place) == []
    folder = create_sweep(place, small(), Launch(preset="x"))
    assert list((place / "sweeps").iterdir()) == [folder]


def test_the_log_of_a_conductor_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / launcher.LOG
    log.write_bytes(b"first\nthe cause\n\0\0\n")
    assert last_line(tmp_path) == "the cause"
    enlarged(log)
    assert last_line(tmp_path) == f"{launcher.LOG} is empty"
    directory(log)
    assert last_line(tmp_path) == f"{launcher.LOG} cannot be read"


@pytest.mark.parametrize("way", [pipe, directory])
def test_something_else_in_place_of_the_journal_is_named(tmp_path: Path, way: Replacing) -> None:
    folder = finished(tmp_path)
    way(folder / journal.NAME)
    for action in (
        lambda: load_state(folder),
        lambda: write_export(folder, tmp_path / "out", report=False),
        lambda: compared(f"{folder}/", lambda: home(tmp_path)),
    ):
        assert says(refusal(action), f"{folder / journal.NAME}: is")
    assert describe(folder).state == "damaged"


def test_swapped_journals_are_named(tmp_path: Path) -> None:
    """The figures of one experiment are never shown as those of another."""
    folders = []
    for name, lr in (("20260101-000000-one", 0.1), ("20260101-000001-two", 0.3)):
        preset = parse_preset(
            {
                "title": name,
                "data": {"name": "digits"},
                "model": {"name": "mlp"},
                "train": {"batch_size": 8, "lr": lr, "epochs": 1},
            },
            name,
            name,
        )
        folder = create_sweep(tmp_path, preset, Launch(preset=name))
        writer = journal.Writer(folder / journal.NAME)
        writer.append(
            ev.SweepOpened(
                id=folder.name,
                preset=name,
                title=name,
                question="",
                source="",
                configurations=preset.configurations,
            )
        )
        writer.close()
        folders.append(folder)
    assert [each.problem for each in stored_sweeps(tmp_path)] == ["", ""]
    one, two = (folder / journal.NAME for folder in folders)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    for folder, other in zip(folders, reversed(folders), strict=True):
        said = f"journal.jsonl belongs to sweep {other.name}, not to this sweep.toml"
        assert said in describe(folder).problem
        state = load_state(folder)
        with pytest.raises(UsageProblem, match="cannot be resumed"):
            refuse_other_experiment(read_preset(folder), state, folder)


def test_a_renamed_folder_is_not_damaged(tmp_path: Path) -> None:
    preset = parse_preset(
        {
            "title": "x",
            "data": {"name": "digits"},
            "model": {"name": "mlp"},
            "train": {"batch_size": 8, "lr": 0.1, "epochs": 1},
        },
        "x",
        "x",
    )
    folder = create_sweep(tmp_path, preset, Launch(preset="x"))
    writer = journal.Writer(folder / journal.NAME)
    writer.append(
        ev.SweepOpened(
            id=folder.name,
            preset="x",
            title="x",
            question="",
            source="",
            configurations=preset.configurations,
        )
    )
    writer.close()
    renamed = folder.rename(folder.with_name("mine"))
    assert describe(renamed).problem == ""

"""A person's files in the folder of an export are kept when it is exported again."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from batchscope.engine.export import own_files
from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import Outcome, copy_of_recorded, recorded

SHA_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def export(target: Path, *words: str) -> Outcome:
    """Export the recorded sweep."""
    return recorded().lab.run("--export", str(target), "--sweep", recorded().folder.name, *words)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An export, in a folder of its own."""
    folder = tmp_path / "place" / "out"
    shutil.copytree(recorded().export, folder)
    return folder


def test_the_manifest_lists_every_other_file(target: Path) -> None:
    listed = json.loads((target / "manifest.json").read_text())["files"]
    assert set(listed) == set(content(target)) - {"manifest.json"}
    assert listed == own_files.digests(target)
    (target / "empty").write_bytes(b"")
    assert own_files.digests(target)["empty"] == SHA_OF_NOTHING


def test_notes_folders_links_and_pipes_stay(target: Path, tmp_path: Path) -> None:
    before = content(target)
    (target / "notes.md").write_text("mine")
    (target / "notes.md").chmod(0o640)
    (target / "a" / "b").mkdir(parents=True)
    (target / "a" / "b" / "table.csv").write_text("mine")
    (target / "a").chmod(0o750)
    (target / "empty").mkdir()
    (target / "figures").mkdir(exist_ok=True)
    (target / "figures" / "mine.png").write_bytes(b"mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far").write_text("far")
    (target / "link").symlink_to(elsewhere)
    (target / "dangling").symlink_to("nowhere")
    os.mkfifo(target / "pipe")
    stamp = (target / "notes.md").stat()
    for _ in range(2):
        outcome = export(target)
        assert (outcome.code, outcome.err) == (0, "")
        found = content(target)
        mine = {"notes.md": b"mine", "a/b/table.csv": b"mine", "figures/mine.png": b"mine"}
        assert found == {**before, **mine}
        assert (target / "empty").is_dir()
        assert (target / "link").readlink() == elsewhere
        assert str((target / "dangling").readlink()) == "nowhere"
        assert (target / "pipe").is_fifo()
        now = (target / "notes.md").stat()
        assert (now.st_mode, now.st_mtime_ns, now.st_ino) == (
            *(stamp.st_mode, stamp.st_mtime_ns, stamp.st_ino),
        )
        assert (target / "a").stat().st_mode & 0o777 == 0o750
        assert neighbours(target) == ["out"]
    assert content(elsewhere) == {"far": b"far"}


def test_a_changed_file_of_the_export_is_kept_beside_the_new_one(target: Path) -> None:
    before = content(target)
    for number, name in enumerate(("trials.csv.changed", "trials.csv.changed-2"), start=1):
        (target / "trials.csv").write_text(f"with a remark {number}")
        outcome = export(target)
        assert outcome.code == 0
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith(f"are kept as {name}\n")
    assert content(target) == {
        **before,
        "trials.csv.changed": b"with a remark 1",
        "trials.csv.changed-2": b"with a remark 2",
    }
    (target / "trials.csv").write_text("with a remark 2")
    again = export(target, "--log-format", "json")
    assert (again.code, again.err) == (0, ""), "the same change is kept once"
    (target / "epochs.csv").write_text("x")
    line = json.loads(export(target, "--log-format", "json").err)
    assert (line["event"], line["files"]) == ("files-kept", ["epochs.csv.changed"])


def test_a_folder_or_link_in_the_place_of_a_file(target: Path) -> None:
    before = content(target)
    (target / "trials.csv").unlink()
    (target / "trials.csv").mkdir()
    (target / "trials.csv" / "inside").write_text("mine")
    (target / "epochs.csv").unlink()
    (target / "epochs.csv").symlink_to("trials.csv")
    assert export(target).code == 0
    through = {"epochs.csv.changed": before["trials.csv"]}
    assert content(target) == {**before, **through, "trials.csv.changed/inside": b"mine"}
    assert str((target / "epochs.csv.changed").readlink()) == "trials.csv"
    assert not (target / "epochs.csv").is_symlink()


def test_an_export_of_an_earlier_version_lists_no_files(target: Path) -> None:
    before = content(target)
    manifest = json.loads((target / "manifest.json").read_text())
    for files in (None, 3, {"trials.csv": 3}):
        manifest["files"] = files
        (target / "manifest.json").write_text(json.dumps(manifest))
        (target / "figures").mkdir(exist_ok=True)
        (target / "figures" / "no_longer_drawn.svg").write_text("of the export")
        (target / "probes.csv").write_text("of the export")
        (target / "notes.md").write_text("mine")
        assert (export(target).code, export(target).err) == (0, "")
        assert content(target) == {**before, "notes.md": b"mine"}


def test_disks_without_links_get_copies(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (target / "notes.md").write_text("mine")
    (target / "link").symlink_to("notes.md")
    new = tmp_path / "new"
    listed = own_files.listed_files(json.loads((target / "manifest.json").read_text()))
    for _ in range(2):
        assert own_files.carry_over(target, new, listed) == []
        assert content(new) == {"notes.md": b"mine", "link": b"mine"}
        assert (new / "link").is_symlink()
    os.mkfifo(target / "pipe")
    with pytest.raises(OSError, match="pipe: Operation not permitted"):
        own_files.carry_over(target, new, listed)


def test_what_is_written_while_the_folder_is_replaced(target: Path, tmp_path: Path) -> None:
    """The second pass, after the exchange, finds files that the first could not know."""
    listed = own_files.listed_files(json.loads((target / "manifest.json").read_text()))
    (target / "notes.md").write_text("first")
    new = tmp_path / "new"
    shutil.copytree(recorded().export, new)
    assert own_files.carry_over(target, new, listed) == []
    (target / "notes.md").unlink()
    (target / "notes.md").write_text("saved by an editor")
    (target / "late.md").write_text("late")
    assert own_files.carry_over(target, new, listed) == ["notes.md.changed"]
    assert (new / "notes.md").read_text() == "first"
    assert (new / "notes.md.changed").read_text() == "saved by an editor"
    assert (new / "late.md").read_text() == "late"


def test_kills_lose_no_file_of_a_person(tmp_path: Path) -> None:
    """Killed a little later each time, until an export ends; the notes are whole at each moment."""
    lab = copy_of_recorded(tmp_path / "lab")
    target = tmp_path / "place" / "out"
    shutil.copytree(recorded().export, target)
    mine = {f"notes/{number % 7}/{number}.txt": b"%d" % number for number in range(300)}
    for name, text in mine.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(text)
    delay, ended = 0.25, False
    while not ended:
        process = lab.start("--export", str(target), "--sweep", lab.only_folder().name)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ended = process.returncode == 0
        found = content(target)
        assert {name: found[name] for name in mine} == mine
        assert set(found) == {*content(recorded().export), *mine}
        delay *= 1.25
        assert delay < 100
    assert neighbours(target) == ["out"]


def test_a_sparse_file_is_kept_without_being_read(tmp_path: Path) -> None:
    """A terabyte of zeros takes no room, and would take half an hour to read."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / "findings.json").touch()
    os.truncate(old / "findings.json", 1 << 40)
    (new / "findings.json").write_text("{}")
    assert own_files.carry_over(old, new, {"findings.json": "0" * 64}) == ["findings.json.changed"]
    assert (new / "findings.json").read_text() == "{}"
    assert (new / "findings.json.changed").stat().st_size == 1 << 40

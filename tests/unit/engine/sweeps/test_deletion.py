"""Deleting a stored sweep: for the list, it is deleted completely or not at all."""

import fcntl
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from batchscope.engine.errors import MachineProblem, UsageProblem
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.orchestration.journal_writer import ledger_of
from batchscope.engine.sweeps import deletion
from batchscope.engine.sweeps.deletion import REMOVED, delete_sweep
from batchscope.engine.sweeps.store import (
    LAUNCH,
    LOCK,
    Launch,
    create_sweep,
    home_folder,
    read_launch,
    sweep_folders,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_folder(str(tmp_path / "home"))


def sweep(home: Path) -> Path:
    folder = create_sweep(home, find_preset("quickstart"), Launch(preset="quickstart"))
    (folder / "trials").mkdir()
    (folder / "trials" / "checkpoint.pt").write_bytes(b"x")
    return folder


def test_only_the_given_sweep_is_deleted(home: Path) -> None:
    folder, other = sweep(home), sweep(home)
    delete_sweep(folder)
    assert sweep_folders(home) == [other]
    assert sorted(path.name for path in home.iterdir()) == ["data", "sweeps"]
    assert (other / "trials" / "checkpoint.pt").is_file()


def test_a_running_sweep_is_not_deleted(home: Path) -> None:
    folder = sweep(home)
    before = sorted(folder.rglob("*"))
    with open(folder / LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageProblem, match=r"running; stop it first$"):
            delete_sweep(folder)
    assert sorted(folder.rglob("*")) == sorted([*before, folder / LOCK])
    delete_sweep(folder)
    assert sweep_folders(home) == []


def test_after_a_crash_the_next_deletion_cleans_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    folder, other = sweep(home), sweep(home)
    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            delete_sweep(folder)
    assert sweep_folders(home) == [other]
    assert (home / REMOVED).is_dir()
    delete_sweep(other)
    assert not (home / REMOVED).exists()


def test_files_that_cannot_be_deleted_are_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    folder = sweep(home)
    with monkeypatch.context() as context:
        context.setattr(os, "rename", refuse)
        context.setattr(Path, "rename", refuse)
        with pytest.raises(MachineProblem, match="cannot be deleted: Permission denied"):
            delete_sweep(folder)
    assert sweep_folders(home) == [folder]
    monkeypatch.setattr(deletion, "discard", lambda _: None)
    with pytest.raises(MachineProblem, match=f"not all files.*{REMOVED}"):
        delete_sweep(folder)


def test_a_sweep_that_was_already_deleted(home: Path) -> None:
    folder = sweep(home)
    delete_sweep(folder)
    with pytest.raises(MachineProblem, match="cannot be deleted: No such file"):
        delete_sweep(folder)


@pytest.mark.parametrize("kind", ["", "file://"])
def test_checkpoints_elsewhere_are_deleted_too(home: Path, tmp_path: Path, kind: str) -> None:
    shared = tmp_path / "shared"
    launch = Launch(preset="quickstart", on="auto", checkpoints=f"{kind}{shared}/")
    made = [create_sweep(home, find_preset("quickstart"), launch) for _ in range(2)]
    for folder in made:
        ledger_of(folder, read_launch(folder).checkpoints).close()
    assert len(list(shared.iterdir())) == 2
    delete_sweep(made[0])
    (left,) = shared.iterdir()
    assert left.name.startswith(f"{made[1].name}-")
    assert read_launch(made[1]).checkpoints == f"{kind}{left}"


def test_checkpoints_that_cannot_be_deleted_are_reported(home: Path) -> None:
    launch = Launch(preset="quickstart", on="auto", checkpoints="nowhere9://kept")
    folder = create_sweep(home, find_preset("quickstart"), launch)
    with pytest.raises(MachineProblem, match="checkpoints in nowhere9://"):
        delete_sweep(folder)
    assert sweep_folders(home) == []


def test_a_shared_checkpoint_folder_is_not_deleted(home: Path, tmp_path: Path) -> None:
    folder, shared = sweep(home), tmp_path / "shared"
    (shared / "others").mkdir(parents=True)
    launch = Launch(preset="quickstart", on="auto", checkpoints=str(shared))
    (folder / LAUNCH).write_bytes(msgspec.json.encode(launch))
    delete_sweep(folder)
    assert (shared / "others").is_dir()

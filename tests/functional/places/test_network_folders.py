"""Homes and exports on file systems that behave as NFS, SMB and FAT do work, or say why not."""

import contextlib
import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.store import (
    Launch,
    conductor_lives,
    create_sweep,
    home_folder,
    sweep_folders,
    take_lock,
)
from batchscope.engine.system.files import sync
from batchscope.engine.system.locks import check_locks
from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import Lab, a_lab, copy_of_recorded, sets, until
from tests.functional.places.network_folder import network_folder
from tests.functional.places.network_rules import NFS, SMB

NO_FUSE = "no file system can be mounted: this needs root and /dev/fuse"
SMALL = sets("seeds=1", "train.epochs=3", "grid.batch_size=[512]", "memory.micro_batch_size=512")
LONG = sets("seeds=1", "train.epochs=5000", "grid.batch_size=[512]", "memory.micro_batch_size=512")


@contextlib.contextmanager
def mounted(place: Path, *rules: str) -> Iterator[Path]:
    """A folder with these rules; the test is skipped where none can be mounted."""
    with network_folder(place, *rules) as folder:
        if folder is None:
            pytest.skip(NO_FUSE)
        yield folder


@contextlib.contextmanager
def a_lab_on(place: Path, *rules: str) -> Iterator[Lab]:
    """A lab whose home is on such a file system."""
    with mounted(place / "network", *rules) as folder, a_lab(place / "lab") as lab:
        lab.home, lab.bare = folder / "home", True
        yield lab


def copied(home: Path, disk: Path) -> Path:
    """Copy a home to another disk."""
    subprocess.run(["cp", "-a", str(home), str(disk / "home")], check=True)
    return disk / "home"


def trains(folder: Path) -> bool:
    """Whether a sweep has trained an epoch."""
    with contextlib.suppress(FileNotFoundError):
        return b'"kind":"epochs"' in (folder / journal.NAME).read_bytes()
    return False


# ---- what works


@pytest.mark.parametrize("rules", [NFS, SMB], ids=["NFS", "SMB"])
def test_a_sweep_runs_is_stopped_resumed_exported_and_deleted(
    tmp_path: Path, rules: tuple[str, ...]
) -> None:
    """Also over an export that is there: SMB does not exchange folders in one step."""
    with a_lab_on(tmp_path, *rules) as lab:
        follower = lab.start("--export", "out", *LONG)
        folder = lab.only_folder()
        until(lambda: trains(folder), "it trains")
        assert [each["state"] for each in lab.listed()] == ["running"]
        refused = lab.run("delete", "--yes", folder.name)
        assert refused.code == 2
        assert "running; stop it first" in refused.err
        assert lab.run("stop", folder.name).code == 0
        follower.communicate()
        assert [each["state"] for each in lab.listed()] == ["stopped"]
        resumed = lab.start("resume", folder.name)
        until(lambda: conductor_lives(folder), "it is resumed")
        assert lab.run("stop", folder.name).code == 0
        resumed.communicate()
        target = lab.home.parent / "out"
        for _ in range(2):
            outcome = lab.run("--export", str(target), "--sweep", folder.name)
            assert outcome.code == 130, outcome.err
        assert neighbours(target) == ["home", "out"]
        deleted = lab.run("delete", "--yes", folder.name)
        assert deleted.code == 0, deleted.err
        assert lab.listed() == []
        assert not list(lab.home.rglob("journal.jsonl"))


@pytest.mark.parametrize("rules", [NFS, SMB], ids=["NFS", "SMB"])
def test_a_result_is_the_same_as_on_a_disk(tmp_path: Path, rules: tuple[str, ...]) -> None:
    kept = ("b512-s0", "finished")
    with a_lab_on(tmp_path, *rules) as lab, a_lab(tmp_path / "disk") as other:
        rows = []
        for each in (lab, other):
            outcome = each.run("--export", str(each.root / "out"), *SMALL)
            assert outcome.code == 0, outcome.err
            (row,) = (each.root / "out" / "epochs.csv").read_text().splitlines()[-1:]
            rows.append(row.split(",")[:12])
        assert rows[0] == rows[1]
        assert rows[0][0] == kept[0]


def test_names_differ_in_more_than_case(tmp_path: Path) -> None:
    """Two sweeps of one second whose presets differ in case only, and none that ends in a dot."""
    with mounted(tmp_path / "network", "no case", "plain names") as folder:
        home = home_folder(str(folder / "home"))
        names = ("Digits", "digits", f"{'x' * 39}.y")
        made = [create_sweep(home, named(name), Launch(preset=name)) for name in names]
        assert sweep_folders(home) == sorted(made, reverse=True)
        assert len({path.name.casefold() for path in made}) == 3


def named(name: str) -> Preset:
    return msgspec.structs.replace(find_preset("quickstart"), name=name)


def test_an_interrupted_removal_is_finished_later(tmp_path: Path) -> None:
    """A file that somebody has open keeps a name, and its folder with it, until it is closed."""
    with mounted(tmp_path / "network", *NFS) as folder:
        lab = copy_of_recorded(tmp_path / "lab")
        lab.home = copied(lab.home, folder)
        (sweep,) = lab.folders()
        with open(sweep / journal.NAME, "rb") as reading:
            outcome = lab.run("delete", "--yes", sweep.name)
            assert outcome.code == 3
            assert "removed from the list, but not all files could be deleted" in outcome.err
            assert reading.read(10), "who reads it still does"
        assert lab.listed() == []
        lab.close()


# ---- what is refused


@pytest.mark.parametrize("rule", ["no locks", "no such locks", "locks of processes"])
def test_without_locks_nothing_runs_and_all_can_be_read_and_deleted(
    tmp_path: Path, rule: str
) -> None:
    with mounted(tmp_path / "network", rule) as folder:
        lab = copy_of_recorded(tmp_path / "lab")
        lab.home = copied(lab.home, folder)
        (sweep,) = lab.folders()
        before = sorted(lab.home.rglob("*"))
        for words in (("--export", "new", "--set", "seeds=1"), ("resume", sweep.name)):
            said = lab.run(*words)
            if words[0] == "resume" and said.code == 0:
                assert "nothing to resume" in said.err
                continue
            assert said.code == 3
            assert "lock" in said.message
            assert "--home" in said.message
        assert sorted(lab.home.rglob("*")) == before, "no sweep is begun, and nothing is left"
        assert [each["state"] for each in lab.listed()] == ["finished"]
        assert not conductor_lives(sweep)
        assert lab.run("--export", "out", "--sweep", sweep.name).code == 0
        assert (lab.cwd / "out" / "trials.csv").is_file()
        doctor = lab.run("doctor")
        assert doctor.code == 3
        assert "lock" in doctor.out
        if rule != "locks of processes":
            with pytest.raises(OSError, match="cannot lock files"):
                take_lock(sweep)
        deleted = lab.run("delete", "--yes", sweep.name)
        assert deleted.code == 0, deleted.err
        lab.close()


def test_locks_of_a_disk_are_accepted(tmp_path: Path) -> None:
    check_locks(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_home_that_everybody_can_write_for_lack_of_modes_is_refused(tmp_path: Path) -> None:
    with mounted(tmp_path / "network", "no chmod") as folder:
        home = str(folder / "home")
        with pytest.raises(MachineProblem, match="every user of this machine can write to"):
            home_folder(home)


def test_a_home_with_fixed_modes_is_used_if_only_its_owner_writes(tmp_path: Path) -> None:
    with mounted(tmp_path / "network", "ignored chmod") as folder:
        home = home_folder(str(folder / "home"))
        assert stat.S_IMODE((home / "sweeps").stat().st_mode) == 0o755


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path) -> None:
    with mounted(tmp_path / "network", "no folder sync") as folder:
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            os.fsync(descriptor)
        os.close(descriptor)
        sync(folder)


def test_an_export_over_files_that_somebody_reads(tmp_path: Path) -> None:
    """SMB renames no folder with an open file: the old export stays, and the message says why."""
    with mounted(tmp_path / "network", *SMB) as folder:
        lab = copy_of_recorded(tmp_path / "lab")
        words = ("--export", str(folder / "out"), "--sweep", lab.only_folder().name)
        assert lab.run(*words).code == 0
        before = content(folder / "out")
        with open(folder / "out" / "trials.csv", "rb"):
            said = lab.run(*words)
        assert said.code == 3
        assert f"--export {folder / 'out'}: Permission denied" in said.message
        assert content(folder / "out") == before
        assert neighbours(folder / "out") == ["out"]
        assert lab.run(*words).code == 0
        lab.close()

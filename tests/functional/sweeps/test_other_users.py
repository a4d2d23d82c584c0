"""Another user of the machine can neither read a sweep nor send it commands."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.store import home_folder
from batchscope.engine.system.private_folders import make_private
from tests.functional.lab import Lab, a_lab, copy_of_recorded

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(look: Callable[[], str]) -> str:
    """What a function says that another user calls."""
    mine, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(theirs, look().encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(mine, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def opened(paths: list[Path]) -> str:
    """Which of the files somebody can read, append to or make."""
    found = []
    for path in paths:
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT):
            with contextlib.suppress(PermissionError):
                os.close(os.open(path, flags))
                found.append(str(path))
    return f"opened {found}"


def taken(home: Path) -> str:
    """Whether somebody may keep their sweeps in a home."""
    try:
        make_private(home, home / "sweeps")
    except OSError as error:
        return str(error)
    return "taken"


@needs_root
@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_another_user_can_neither_read_nor_command_a_sweep(public: Path, umask: int) -> None:
    """Also where the umask would leave everything to everybody, down to folders above the home."""
    before = os.umask(umask)
    try:
        with a_lab(public / "lab") as lab:
            lab.bare = True
            (public / "lab").chmod(0o755)
            lab.home = public / "above" / "home"
            done = lab.run("--export", "out", "--set", "train.epochs=1", "--set", "seeds=1")
            assert done.code == 0, done.err
            folder = lab.only_folder()
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert {journal.NAME, "conductor.lock", "worker-0.log"} <= {p.name for p in files}
            said = as_nobody(lambda: opened([*files, folder / commands.NAME, lab.home / "new"]))
            assert said == "opened []"
            assert not (folder / commands.NAME).exists()
            for path in (lab.home.parent, lab.home, lab.home / "sweeps", lab.home / "data", folder):
                assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
            written = [path for path in files if path.name.endswith((".jsonl", ".lock"))]
            assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in written)
    finally:
        os.umask(before)


def test_sweeps_in_a_readable_home_are_made_private(tmp_path: Path) -> None:
    lab: Lab = copy_of_recorded(tmp_path)
    lab.home.chmod(0o755)
    (lab.home / "sweeps").chmod(0o777)
    assert lab.run("list").code == 0
    assert stat.S_IMODE((lab.home / "sweeps").stat().st_mode) == 0o777, "it only reads"
    home_folder(str(lab.home))
    assert stat.S_IMODE(lab.home.stat().st_mode) == 0o755, "it may hold other things"
    assert stat.S_IMODE((lab.home / "sweeps").stat().st_mode) == 0o700
    lab.close()


def test_a_home_writable_by_everyone_is_rejected(tmp_path: Path) -> None:
    """Somebody could put another folder in the place of a sweep."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(MachineProblem, match="every user of this machine can write to"):
        home_folder(str(home))
    home.chmod(0o1777)
    assert home_folder(str(home)) == home, "as in /tmp, what is ours stays in its place"


@needs_root
@pytest.mark.parametrize("by", ["folder", "link", "link of sweeps"])
def test_the_folder_of_another_user_is_rejected(public: Path, by: str) -> None:
    theirs, home = public / "theirs", public / "home"
    theirs.mkdir()
    theirs.chmod(0o755)
    os.chown(theirs, 4242, 4242)
    match by:
        case "folder":
            home = theirs
        case "link":
            home.symlink_to(theirs)
        case _:
            home.mkdir()
            os.chown(home, NOBODY, NOBODY)
            (home / "sweeps").symlink_to(theirs)
    said = as_nobody(lambda: taken(home))
    assert said == f"{theirs} belongs to another user (4242)"
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o755


@needs_root
def test_the_users_own_folder_is_accepted(public: Path) -> None:
    home = public / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    assert as_nobody(lambda: taken(home)) == "taken"
    assert (home / "sweeps").stat().st_uid == NOBODY


def test_folders_above_a_home_are_not_changed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b", tmp_path / "a" / "b" / "sweeps")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755

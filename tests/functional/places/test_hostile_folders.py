"""Places that other users may write to: no link of theirs is followed, and nothing is lost."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from batchscope.engine.checkpoints.remote_store import check
from batchscope.engine.errors import MachineProblem
from batchscope.engine.export.atomic_folder import beside, replace
from batchscope.engine.sweeps.deletion import REMOVED, delete_sweep
from batchscope.engine.sweeps.store import find_sweep, home_folder
from batchscope.engine.system.files import replace_file
from batchscope.engine.system.private_folders import check_unshared, make_private
from batchscope.tui.terminal.captures import COPIES, keep
from tests.functional.lab import Lab, copy_of_recorded
from tests.functional.places.other_user import as_user

ANNA, BERT = 12345, 12346
"""Two users without accounts."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter and root alone may change, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def victim(public: Path) -> Path:
    """A folder of root that nobody may have changed."""
    folder = public / "victim"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "kept").write_text("kept")
    return folder


def unharmed(victim: Path) -> bool:
    """Whether a folder is as it was."""
    mode = stat.S_IMODE(victim.stat().st_mode)
    return mode == 0o755 and [path.name for path in victim.iterdir()] == ["kept"]


def made_by(user: int, folder: Path, mode: int) -> Path:
    """Make a folder of a user."""
    folder.mkdir()
    os.chown(folder, user, user)
    folder.chmod(mode)
    return folder


def linked_by(user: int, link: Path, to: Path) -> None:
    """Make a link of a user."""
    link.symlink_to(to)
    os.chown(link, user, user, follow_symlinks=False)


def refused(home: Path) -> str:
    """What a home is refused with that this process may not use."""
    with pytest.raises(MachineProblem) as caught:
        home_folder(str(home))
    return str(caught.value)


# ---- what root must not be led to


@pytest.mark.parametrize("name", ["sweeps", "data"])
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_planted_link_in_a_home_changes_no_mode(
    public: Path, victim: Path, name: str, mode: int
) -> None:
    """In a home of the other user, and in one that everybody may add to."""
    home = made_by(ANNA if mode == 0o755 else 0, public / "home", mode)
    linked_by(ANNA, home / name, victim)
    said = refused(home)
    assert f"belongs to another user ({ANNA})" in said
    assert str(home) in said
    assert "--home" in said
    assert unharmed(victim)


def test_a_home_that_somebody_made_first_is_refused(public: Path, victim: Path) -> None:
    shared = made_by(0, public / "shared", 0o1777)
    home = made_by(ANNA, shared / "home", 0o700)
    assert f"{home} belongs to another user ({ANNA})" in refused(home)
    linked_by(ANNA, shared / "link", victim)
    assert f"{shared / 'link'} is a link that belongs to another user ({ANNA})" in refused(
        shared / "link" / "home"
    )
    assert unharmed(victim)


@pytest.mark.parametrize("mode", [0o777, 0o2777, 0o775])
def test_a_home_below_a_folder_that_others_may_write_is_refused(public: Path, mode: int) -> None:
    """They could rename the whole home; with the sticky bit they could not."""
    shared = made_by(0, public / "shared", mode)
    os.chown(shared, 0, BERT)
    shared.chmod(mode)
    who = f"the group {BERT}" if mode == 0o775 else "every user of this machine"
    said = refused(shared / "mine" / "home")
    assert f"{who} can write to {shared} (`chmod go-w {shared}` ends that)" in said
    assert not list(shared.iterdir()), "nothing was created"
    shared.chmod(mode | stat.S_ISVTX)
    assert home_folder(str(shared / "mine" / "home")).is_dir()


def test_a_shared_place_is_used_if_everybody_there_is_trusted(
    public: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project folder, or a volume in a container; another user's link is still not followed."""
    shared = made_by(ANNA, public / "shared", 0o777)
    home = shared / "mine" / "home"
    assert "BATCHSCOPE_SHARED=1" in refused(home)
    monkeypatch.setenv("BATCHSCOPE_SHARED", "1")
    assert home_folder(str(home)) == home
    linked_by(ANNA, shared / "link", victim)
    assert "is a link that belongs to another user" in refused(shared / "link" / "home")
    assert unharmed(victim)


def test_an_access_list_counts_as_writing(public: Path) -> None:
    """The group's bits are then the most that any entry gives."""
    if not shutil.which("setfacl"):
        pytest.skip("there is no setfacl")
    home = made_by(0, public / "home", 0o755)
    done = subprocess.run(["setfacl", "-m", f"u:{ANNA}:rwx", str(home)], check=False)
    if done.returncode:
        pytest.skip("this file system has no access lists")
    assert "access list" in refused(home)


def test_a_group_of_ones_own_may_write(public: Path) -> None:
    """Many systems give every user a group and the umask 002."""
    home = made_by(0, public / "home", 0o775)
    assert home_folder(str(home)) == home


def test_ones_own_links_are_followed(public: Path) -> None:
    """A home, its sweeps and its data may be on another disk, or above it."""
    disk = made_by(0, public / "disk", 0o755)
    for name in ("home", "sweeps", "data"):
        made_by(0, disk / name, 0o755)
    (disk / "home" / "sweeps").symlink_to("../sweeps")
    (disk / "home" / "data").symlink_to(disk / "data")
    (public / "link").symlink_to("disk/home")
    assert home_folder(str(public / "link")) == public / "link"
    for name in ("sweeps", "data"):
        assert stat.S_IMODE((disk / name).stat().st_mode) == 0o700


def test_a_circle_of_links_is_refused_in_words(public: Path) -> None:
    (public / "one").symlink_to("two")
    (public / "two").symlink_to("one")
    assert "Too many levels of symbolic links" in refused(public / "one" / "home")


@pytest.mark.parametrize("folder", [REMOVED, COPIES])
def test_links_for_later_folders_of_a_home(public: Path, victim: Path, folder: str) -> None:
    """Folders that a home gets only when they are needed."""
    lab = copy_of_recorded(public / "lab")
    lab.home.chmod(0o1777)
    linked_by(ANNA, lab.home / folder, victim)
    uses: dict[str, Callable[[], object]] = {
        COPIES: lambda: keep(lab.home, COPIES, "table", {".csv": "a,b"}),
        REMOVED: lambda: delete_sweep(lab.only_folder()),
    }
    with pytest.raises(MachineProblem, match="is a link that belongs to another user"):
        uses[folder]()
    assert lab.only_folder().is_dir()
    assert unharmed(victim)
    lab.close()


def test_sweeps_on_another_disk_are_deleted_there(public: Path, tmp_path: Path) -> None:
    """A folder cannot be renamed to another disk."""
    if not subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=False).returncode:
        try:
            lab = copy_of_recorded(public / "lab")
            shutil.move(lab.home / "sweeps", tmp_path / "sweeps")
            (lab.home / "sweeps").symlink_to(tmp_path / "sweeps")
            outcome = lab.run("delete", "--yes", find_sweep(lab.home, None).name)
            assert outcome.code == 0, outcome.err
            assert not list((tmp_path / "sweeps").rglob("journal.jsonl"))
            lab.close()
        finally:
            subprocess.run(["umount", "-l", str(tmp_path)], check=False)
    else:
        pytest.skip("nothing can be mounted")


def test_a_folder_for_checkpoints_is_checked(public: Path, victim: Path) -> None:
    shared = made_by(0, public / "shared", 0o1777)
    linked_by(ANNA, shared / "link", victim)
    with pytest.raises(MachineProblem, match="is a link that belongs to another user"):
        check(str(shared / "link" / "checkpoints"), on_cluster=True)
    assert unharmed(victim)


# ---- exports and figures, which people put where others can fetch them


def test_an_export_is_written_where_others_may_write(public: Path) -> None:
    shared = made_by(0, public / "shared", 0o777)
    for content in ("first", "second"):
        with beside(shared / "out") as fresh:
            (fresh / "file").write_text(content)
            fresh.chmod(0o755)
            replace(fresh, shared / "out")
        assert (shared / "out" / "file").read_text() == content
        assert [path.name for path in shared.iterdir()] == ["out"]
    assert stat.S_IMODE((shared / "out").stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_what_an_export_replaces_can_be_read_before_it_is_removed(public: Path, mode: int) -> None:
    shared = made_by(0, public / "shared", mode)
    (shared / "out").mkdir()
    (shared / "out" / "file").write_text("old")
    seen = []
    with beside(shared / "out") as fresh:
        (fresh / "file").write_text("new")
        replace(fresh, shared / "out", lambda old: seen.append((old / "file").read_text()))
    assert seen == ["old"]
    assert (shared / "out" / "file").read_text() == "new"
    assert [path.name for path in shared.iterdir()] == ["out"]


def test_an_export_does_not_leave_its_folder_when_that_is_exchanged(
    public: Path, victim: Path
) -> None:
    """Another user renames the folder that is being filled, and puts a link in its place."""
    shared = made_by(0, public / "shared", 0o777)
    with suppress(OSError), beside(shared / "out") as fresh:
        (half_made,) = shared.iterdir()
        half_made.rename(shared / "elsewhere")
        linked_by(ANNA, half_made, victim)
        (fresh / "file").write_text("text")
        fresh.chmod(0o700)
        replace(fresh, shared / "out")
    assert unharmed(victim)
    assert (shared / "out" / "file").read_text() == "text"


def test_an_export_removes_nothing_that_was_put_in_its_place(public: Path, victim: Path) -> None:
    shared = made_by(0, public / "shared", 0o777)
    with beside(shared / "out"):
        (half_made,) = shared.iterdir()
        half_made.rename(shared / "elsewhere")
        victim.rename(half_made)
    assert (half_made / "kept").read_text() == "kept"


def test_an_export_through_another_users_link_is_refused(public: Path, victim: Path) -> None:
    shared = made_by(0, public / "shared", 0o1777)
    linked_by(ANNA, shared / "link", victim)
    for target in (shared / "link", shared / "link" / "out"):
        into = beside(target)
        with pytest.raises(PermissionError, match="is a link that belongs to another user"):
            into.__enter__()
    assert unharmed(victim)


def test_an_export_to_ones_own_link_goes_where_it_leads(public: Path) -> None:
    (public / "disk" / "out").mkdir(parents=True)
    (public / "out").symlink_to("disk/out")
    with beside(public / "out") as fresh:
        (fresh / "file").write_text("text")
        replace(fresh, public / "out")
    assert (public / "out").is_symlink()
    assert (public / "disk" / "out" / "file").read_text() == "text"
    assert [path.name for path in (public / "disk").iterdir()] == ["out"]


def test_a_figure_is_written_through_no_planted_link(public: Path, victim: Path) -> None:
    shared = made_by(0, public / "shared", 0o1777)
    linked_by(ANNA, shared / "figure.svg", victim / "kept")
    replace_file(shared / "figure.svg", b"<svg/>")
    assert (victim / "kept").read_text() == "kept"
    assert (shared / "figure.svg").read_bytes() == b"<svg/>"
    assert stat.S_IMODE((shared / "figure.svg").stat().st_mode) == 0o644


# ---- two users and root


@pytest.mark.parametrize("umask", [0o022, 0])
def test_folders_are_private_for_any_umask_and_parent(public: Path, umask: int) -> None:
    above = made_by(0, public / "setgid", 0o2755)
    before = os.umask(umask)
    try:
        make_private(above / "a" / "home", above / "a" / "home" / "sweeps")
    finally:
        os.umask(before)
    for folder in (above / "a", above / "a" / "home", above / "a" / "home" / "sweeps"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def shared_lab(public: Path) -> Iterator[Lab]:
    """A finished sweep of Anna's in a home that Bert's group may write to."""
    lab = copy_of_recorded(public / "lab")
    for path in (lab.root, lab.home, *lab.home.rglob("*")):
        os.chown(path, ANNA, BERT)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    yield lab
    lab.close()


@pytest.mark.parametrize("who", [0, ANNA, BERT])
@pytest.mark.parametrize("what", ["run", "resume", "delete"])
def test_in_a_shared_home_nothing_is_run_or_lost(shared_lab: Lab, who: int, what: str) -> None:
    """Neither user can be sure what the other puts there, and root of neither."""
    (folder,) = shared_lab.folders()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    words = {
        "run": ("--export", str(shared_lab.root / "out"), "--set", "seeds=1"),
        "resume": ("resume", folder.name),
        "delete": ("delete", "--yes", folder.name),
    }[what]
    done = as_user(who, "--home", str(shared_lab.home), *words)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert str(shared_lab.home) in done.stderr
    assert "can write to" in done.stderr or "belongs to another user" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert shared_lab.folders() == [folder]


def test_a_sweep_with_another_owner_in_a_closed_home_can_be_deleted(public: Path) -> None:
    """Such as one that was copied there: its owner cannot reach it. But a link stays theirs."""
    lab = copy_of_recorded(public / "lab")
    folder = lab.only_folder()
    os.chown(folder, ANNA, ANNA)
    folder.chmod(0o777)
    check_unshared(folder)
    linked_by(ANNA, folder / "link", public)
    with pytest.raises(PermissionError, match="is a link that belongs to another user"):
        check_unshared(folder / "link" / "below")
    outcome = lab.run("delete", "--yes", folder.name)
    assert outcome.code == 0, outcome.err
    assert lab.folders() == []
    lab.close()

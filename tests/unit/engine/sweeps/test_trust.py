import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.sweeps.trust import (
    NAME,
    NotTrusted,
    check_trusted,
    revoke,
    trust,
    trusted_folders,
)


@pytest.fixture
def code() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name).resolve() / "code"
        folder.mkdir(mode=0o755)
        yield folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def test_a_folder_is_not_trusted_at_first(home: Path, code: Path) -> None:
    with pytest.raises(NotTrusted, match="batchscope trust") as caught:
        check_trusted(home, code)
    assert caught.value.folder == code


def test_a_trusted_folder_stays_so_when_it_changes(home: Path, code: Path) -> None:
    trust(home, code)
    check_trusted(home, code)
    (code / "mine.py").write_text("changed = True")
    check_trusted(home, code)
    assert [each.path for each in trusted_folders(home)] == [str(code)]


def test_trust_is_for_the_folder_behind_a_link(home: Path, code: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(code)
    assert trust(home, tmp_path / "link") == code
    check_trusted(home, code)
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(NotTrusted):
        check_trusted(home, tmp_path / "link")


def test_a_folder_that_became_a_link_is_asked_about_again(
    home: Path, code: Path, tmp_path: Path
) -> None:
    trust(home, code)
    code.rename(tmp_path / "elsewhere")
    code.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_folder_that_others_may_write_is_refused(home: Path, code: Path, mode: int) -> None:
    trust(home, code)
    code.chmod(mode)
    with pytest.raises(NotTrusted, match="can write"):
        check_trusted(home, code)
    with pytest.raises(NotTrusted, match="can write"):
        trust(home, code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_owner_is_asked_about_again(home: Path, code: Path) -> None:
    trust(home, code)
    os.chown(code, 61000, 61000)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)


def test_trust_is_revoked(home: Path, code: Path) -> None:
    trust(home, code)
    revoke(home, code)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)
    with pytest.raises(UsageProblem, match="is not trusted"):
        revoke(home, code)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"folders": 3}', b"\xff"])
def test_a_damaged_file_trusts_nothing(home: Path, code: Path, content: bytes) -> None:
    trust(home, code)
    (home / NAME).write_bytes(content)
    with pytest.raises(NotTrusted):
        check_trusted(home, code)
    trust(home, code)
    check_trusted(home, code)


def test_a_link_in_the_place_of_the_file_trusts_nothing(
    home: Path, code: Path, tmp_path: Path
) -> None:
    trust(home, code)
    (home / NAME).rename(tmp_path / "planted.json")
    (home / NAME).symlink_to(tmp_path / "planted.json")
    with pytest.raises(NotTrusted):
        check_trusted(home, code)

"""Checkpoint files are complete, or recognised as damaged."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints.file import CURRENT, PREVIOUS, Damaged, Superseded

PAYLOAD = bytes(range(64))


def test_a_written_checkpoint_is_read(tmp_path: Path) -> None:
    folder = checkpoints.folder_of(tmp_path, "b64-s0")
    checkpoints.write(folder, 3, 70, PAYLOAD)
    header, payload = checkpoints.read(folder / CURRENT)
    assert payload == PAYLOAD
    assert (header.attempt, header.steps, header.length) == (3, 70, 64)
    assert checkpoints.latest_header(folder) == header
    assert folder == tmp_path / "trials" / "b64-s0"
    assert [path.name for path in folder.iterdir()] == [CURRENT]
    assert folder.stat().st_mode & 0o077 == 0


def test_the_previous_checkpoint_is_kept_until_the_next_is_complete(tmp_path: Path) -> None:
    for steps in (1, 2, 3):
        checkpoints.write(tmp_path, 1, steps, PAYLOAD)
    found = [checkpoints.read(path)[0].steps for path in checkpoints.candidates(tmp_path)]
    assert found == [3, 2]


def test_a_changed_byte_is_detected_at_any_position(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    path = tmp_path / CURRENT
    whole = path.read_bytes()
    for index in range(len(whole)):
        for flip in (1, 0x80):
            path.write_bytes(whole[:index] + bytes([whole[index] ^ flip]) + whole[index + 1 :])
            with pytest.raises(Damaged):
                checkpoints.read(path)


def test_a_truncated_file_is_detected_at_any_length(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    path = tmp_path / CURRENT
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            checkpoints.read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(Damaged, match="it has 65 of 64 bytes"):
        checkpoints.read(path)


def test_a_damaged_attempt_number_does_not_block_writing(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    path = tmp_path / CURRENT
    content = bytearray(path.read_bytes())
    content[12] = 0x7F  # the highest byte of the attempt
    path.write_bytes(content)
    checkpoints.write(tmp_path, 2, 5, PAYLOAD)
    assert checkpoints.read(path)[0].steps == 5


def test_a_later_attempt_is_not_overwritten(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 2, 10, PAYLOAD)
    with pytest.raises(Superseded, match="attempt 2"):
        checkpoints.write(tmp_path, 1, 99, b"stale")
    assert checkpoints.read(tmp_path / CURRENT)[0].steps == 10
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]


def test_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    (tmp_path / "checkpoint.1.tmp").write_bytes(PAYLOAD[:7])
    assert [path.name for path in checkpoints.candidates(tmp_path)] == [CURRENT]
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]


def test_a_missing_folder_has_no_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert list(checkpoints.candidates(folder)) == []
    assert checkpoints.latest_header(folder) is None
    checkpoints.remove(folder)
    with pytest.raises(FileNotFoundError):
        checkpoints.read(folder / CURRENT)


def replaced(path: Path, how: str) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        (path / "inside").mkdir(parents=True)
    elif how == "link":
        whole = path.with_name("elsewhere")
        whole.write_bytes(b"of somebody")
        path.symlink_to(whole)
    elif how == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path)


OTHERS = {
    "fifo": "is not a regular file",
    "folder": "is a folder",
    "link": "Too many levels of symbolic links",
    "device": "Too many levels of symbolic links",
    "loop": "Too many levels of symbolic links",
}


@pytest.mark.parametrize("how", OTHERS)
def test_other_things_in_the_place_of_a_checkpoint(tmp_path: Path, how: str) -> None:
    """They are neither opened nor followed, and the next checkpoint takes their place."""
    for steps in (1, 2):
        checkpoints.write(tmp_path, 1, steps, PAYLOAD)
    replaced(tmp_path / CURRENT, how)
    with pytest.raises(OSError, match=OTHERS[how]):
        checkpoints.read(tmp_path / CURRENT)
    header = checkpoints.latest_header(tmp_path)
    assert header is not None
    assert header.steps == 1
    assert [path.name for path in checkpoints.candidates(tmp_path)] == [CURRENT, PREVIOUS]
    replaced(tmp_path / "checkpoint.2.tmp", how)
    checkpoints.write(tmp_path, 2, 3, PAYLOAD)
    found = [checkpoints.read(path)[0].steps for path in checkpoints.candidates(tmp_path)]
    assert found == [3, 1]
    replaced(tmp_path / PREVIOUS, how)
    checkpoints.write(tmp_path, 2, 4, PAYLOAD)
    found = [checkpoints.read(path)[0].steps for path in checkpoints.candidates(tmp_path)]
    assert found == [4, 3]
    if how == "link":
        assert (tmp_path / "elsewhere").read_bytes() == b"of somebody"


@pytest.mark.parametrize("how", OTHERS)
def test_other_things_in_the_place_of_an_unfinished_file(tmp_path: Path, how: str) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    replaced(tmp_path / "checkpoint.7.tmp", how)
    assert [path.name for path in checkpoints.candidates(tmp_path)] == [CURRENT]
    assert not os.path.lexists(tmp_path / "checkpoint.7.tmp")


@pytest.mark.parametrize("how", ["file", "link"])
def test_other_things_in_the_place_of_the_folder(tmp_path: Path, how: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "trials" / "b8-s0"
    outside.mkdir()
    folder.parent.mkdir()
    if how == "link":
        folder.symlink_to(outside)
    else:
        folder.write_bytes(b"")
    checkpoints.write(folder, 1, 1, PAYLOAD)
    assert checkpoints.read(folder / CURRENT)[1] == PAYLOAD
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("linked", ["trials", "trials/b8-s0"])
def test_nothing_behind_a_link_to_another_folder_is_touched(tmp_path: Path, linked: str) -> None:
    """Found by the damage campaign: a resumed sweep wrote and removed files there."""
    folder = tmp_path / "trials" / "b8-s0"
    checkpoints.write(folder, 1, 1, PAYLOAD)
    (folder / "checkpoint.9.tmp").touch()
    outside = tmp_path / "outside"
    (tmp_path / linked).rename(outside)
    (tmp_path / linked).symlink_to(outside)
    before = {path: path.lstat().st_mtime_ns for path in outside.rglob("*")}
    assert list(checkpoints.candidates(folder)) == []
    checkpoints.remove(folder)
    checkpoints.write(folder, 2, 2, PAYLOAD)
    assert {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} == before
    assert not (tmp_path / linked).is_symlink()
    assert [path.name for path in checkpoints.candidates(folder)] == [CURRENT]


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, 1, 1, PAYLOAD)
    path = tmp_path / CURRENT
    os.truncate(path, 1 << 40)
    for read in (checkpoints.read, checkpoints.read_whole):
        with pytest.raises(Damaged, match=r"it has 1,099,511,627,\d+ of 64 bytes"):
            read(path)


def header(attempt: int, steps: int, length: int) -> bytes:
    """A header with the right checksum, field by field as the module documents it."""
    fields = struct.pack(">8sIQQQ32s", b"batchsco", 1, attempt, steps, length, bytes(32))
    return fields + struct.pack(">I", zlib.crc32(fields + bytes(4)))


def test_a_header_is_not_believed(tmp_path: Path) -> None:
    """Somebody may have computed its checksum again."""
    path = tmp_path / CURRENT
    path.write_bytes(header(1, 1, 1 << 40))
    os.truncate(path, (1 << 40) + checkpoints.HEADER_BYTES)
    with pytest.raises(Damaged, match=r"larger than 1\.00 GiB"):
        checkpoints.read(path, 1 << 30)
    for attempt, steps in ((1 << 32, 1), (1, 1 << 53)):
        path.write_bytes(header(attempt, steps, 0))
        with pytest.raises(Damaged, match="impossible numbers"):
            checkpoints.read(path)
        assert checkpoints.latest_header(tmp_path) is None


@pytest.mark.parametrize(
    "folders",
    [["b64-s0", "B64-s0"], ["a/b", "a-b", "a b"], ["..", "."], ["x" * 300, "x" * 301], ["é", "è"]],
)
def test_every_trial_has_its_own_folder(tmp_path: Path, folders: list[str]) -> None:
    found = [checkpoints.folder_of(tmp_path, name) for name in folders]
    assert {path.parent for path in found} == {tmp_path / "trials"}
    assert len({path.name.lower() for path in found}) == len(folders)
    for path in found:
        path.mkdir(parents=True)


@given(st.text(min_size=1, max_size=200))
def test_a_folder_has_a_plain_name(name: str) -> None:
    path = checkpoints.folder_of(Path("/sweep"), name)
    assert path.parent == Path("/sweep/trials")
    assert path.name.isascii()
    assert path.name.isprintable()
    assert 0 < len(path.name) <= checkpoints.LONGEST_NAME
    assert path.name not in (".", "..")


FULL = """
import resource, signal, sys
from pathlib import Path
from batchscope.engine.checkpoints import file as checkpoints

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoints.write(Path(sys.argv[1]), 1, 1, b"x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    checkpoints.write(Path(sys.argv[1]), 1, 2, b"x" * 5000)
except OSError as error:
    print(type(error).__name__)
"""


def test_on_a_full_disk_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == b"OSError\n"
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]
    assert checkpoints.read(tmp_path / CURRENT)[0].steps == 1
    assert not (tmp_path / PREVIOUS).exists()


@pytest.mark.parametrize("kind", ["pipe", "file", "link"])
def test_what_is_no_folder_is_removed_without_waiting(tmp_path: Path, kind: str) -> None:
    """`shutil.rmtree` waits for somebody who writes into a pipe."""
    folder, other = tmp_path / "trials" / "b8-s0", tmp_path / "other"
    folder.parent.mkdir()
    other.mkdir()
    (other / "mine").write_text("x")
    match kind:
        case "pipe":
            os.mkfifo(folder)
        case "file":
            folder.write_text("x")
        case _:
            folder.symlink_to(other)
    checkpoints.remove(folder)
    assert os.path.lexists(folder) == (kind == "link"), "a link is left alone"
    assert (other / "mine").read_text() == "x"

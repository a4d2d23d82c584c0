"""Files of final weights: written completely or not at all, and copied only if unchanged."""

import hashlib
import os
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints import kept_weights
from batchscope.engine.checkpoints.kept_weights import CHUNK, NAME, Changed
from batchscope.engine.checkpoints.mirror import Mirror, carried, divided, put

CONTENT = bytes(range(256)) * 9000  # more than two pieces
DIGEST = hashlib.sha256(CONTENT).hexdigest()
TRIAL = "b8-s0"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep"
    assert kept_weights.write(kept_weights.file_of(folder, TRIAL).parent, CONTENT) == DIGEST
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_copied_with_its_bytes(sweep: Path, tmp_path: Path) -> None:
    assert len(CONTENT) > 2 * CHUNK
    source, target = kept_weights.file_of(sweep, TRIAL), tmp_path / "copy"
    assert kept_weights.copy(source, target, DIGEST) == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert names(source.parent) == [NAME]


def test_what_a_killed_worker_left_is_removed(sweep: Path) -> None:
    source = kept_weights.file_of(sweep, TRIAL)
    left = source.with_name(f"{NAME}.tmp")
    left.write_bytes(b"half")
    digest = kept_weights.write(source.parent, b"again")
    assert names(source.parent) == [NAME]
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_refused_write_leaves_the_earlier_file(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a full disk does: the content is refused when it is written through."""

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    source = kept_weights.file_of(sweep, TRIAL)
    with pytest.raises(OSError, match="No space left"):
        kept_weights.write(source.parent, b"again")
    assert source.read_bytes() == CONTENT
    assert names(source.parent) == [NAME]


@pytest.mark.parametrize("at", [0, 8, CHUNK, len(CONTENT) - 1])
def test_a_changed_byte_is_found(sweep: Path, tmp_path: Path, at: int) -> None:
    source, target = kept_weights.file_of(sweep, TRIAL), tmp_path / "copy"
    changed = bytearray(CONTENT)
    changed[at] ^= 1
    source.write_bytes(changed)
    with pytest.raises(Changed, match="wrong checksum"):
        kept_weights.copy(source, target, DIGEST)
    assert not target.exists()


def test_a_missing_or_unreadable_file_is_said(sweep: Path, tmp_path: Path) -> None:
    source, target = kept_weights.file_of(sweep, TRIAL), tmp_path / "copy"
    source.unlink()
    with pytest.raises(Changed, match="No such file"):
        kept_weights.copy(source, target, DIGEST)
    source.mkdir()
    with pytest.raises(Changed, match="is a folder"):
        kept_weights.copy(source, target, DIGEST)
    assert not target.exists()


def test_only_the_regular_file_of_the_stated_size_is_opened(sweep: Path, tmp_path: Path) -> None:
    source, target = kept_weights.file_of(sweep, TRIAL), tmp_path / "copy"
    size = len(CONTENT)
    assert kept_weights.copy(source, target, DIGEST, size) == size
    target.unlink()
    os.truncate(source, 1 << 40)
    with pytest.raises(Changed, match=f"it has 1,099,511,627,776 of {size:,} bytes"):
        kept_weights.copy(source, target, DIGEST, size)
    source.unlink()
    os.mkfifo(source)
    with pytest.raises(Changed, match="is not a regular file"):
        kept_weights.copy(source, target, DIGEST, size)
    source.unlink()
    source.symlink_to("/dev/zero")
    with pytest.raises(Changed, match="Too many levels of symbolic links"):
        kept_weights.copy(source, target, DIGEST, size)
    assert not target.exists()


def test_weights_are_written_in_place_of_other_things(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "weights" / TRIAL
    outside.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(outside)
    kept_weights.write(folder, b"first")
    (folder / NAME).unlink()
    (folder / NAME / "inside").mkdir(parents=True)
    (folder / f"{NAME}.tmp").mkdir()
    kept_weights.write(folder, b"second")
    assert names(folder) == [NAME]
    assert (folder / NAME).read_bytes() == b"second"
    assert list(outside.iterdir()) == []


def test_a_node_sends_them_to_the_sweep_and_never_gets_them(sweep: Path, tmp_path: Path) -> None:
    """A store at a URL gets only what workers need; the result goes to the sweep's folder."""
    below = (f"trials/{TRIAL}", f"weights/{TRIAL}")
    for each in below:
        checkpoints.write(sweep / each, 1, 10, b"state")
    sent = carried(sweep, below)
    assert set(sent) == {f"{each}/{checkpoints.CURRENT}" for each in below}
    mirror = Mirror(tmp_path / "scratch")
    try:
        mirror.begin(below, sent)
        kept_weights.write(mirror.folder / below[1], b"new")
        checkpoints.write(mirror.folder / below[0], 2, 20, b"later")
        for_sweep, for_store = divided(mirror.changed())
        assert mirror.changed() == {}
    finally:
        mirror.close()
    assert for_sweep == {f"{below[1]}/{NAME}": b"new"}
    assert set(for_store) == {f"{below[0]}/{checkpoints.CURRENT}"}
    put(sweep, for_sweep)
    assert kept_weights.file_of(sweep, TRIAL).read_bytes() == b"new"
    assert kept_weights.file_of(sweep, TRIAL).parent == checkpoints.weights_of(sweep, TRIAL)

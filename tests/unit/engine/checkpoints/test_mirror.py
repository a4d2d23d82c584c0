"""A node's copy of a sweep's folder: which files are sent in both directions, and which are not."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints.mirror import DataShelf, Mirror, carried, data_files, put
from batchscope.engine.checkpoints.remote_store import Store, is_url, open_store
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.prepared_files import holds
from batchscope.engine.errors import UsageProblem

KEPT, LEFT = "trials/b8-s0", "weights/b8-s0"
BELOW = (KEPT, LEFT)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep"
    checkpoints.write(folder / KEPT, 1, 10, b"first")
    checkpoints.write(folder / KEPT, 1, 20, b"second")
    checkpoints.write(folder / LEFT, 1, 30, b"weights")
    return folder


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(tmp_path / "scratch")
    yield made
    made.close()


def held(folder: Path) -> dict[str, bytes]:
    found = checkpoints.candidates(folder)
    return {path.name: checkpoints.read(path)[1] for path in found if path.exists()}


def test_files_are_sent_and_returned(sweep: Path, mirror: Mirror, tmp_path: Path) -> None:
    """Of the checkpoints the newest goes there alone; what is written there comes back once."""
    mirror.begin(BELOW, carried(sweep, BELOW))
    assert held(mirror.folder / KEPT) == {checkpoints.CURRENT: b"second"}
    assert held(mirror.folder / LEFT) == {checkpoints.CURRENT: b"weights"}
    assert mirror.changed() == {}
    checkpoints.write(mirror.folder / KEPT, 2, 40, b"third")
    back = mirror.changed()
    assert list(back) == [f"{KEPT}/{checkpoints.CURRENT}"]
    assert mirror.changed() == {}
    put(sweep, back)
    assert held(sweep / KEPT)[checkpoints.CURRENT] == b"third"
    header = checkpoints.latest_header(sweep / KEPT)
    assert header is not None
    assert (header.attempt, header.steps) == (2, 40)
    assert not list(sweep.rglob("*.tmp"))


def test_files_of_the_previous_trial_are_removed(sweep: Path, mirror: Mirror) -> None:
    mirror.begin(BELOW, carried(sweep, BELOW))
    mirror.begin((KEPT,), {})
    assert held(mirror.folder / KEPT) == {}
    assert mirror.changed() == {}


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "trials/../../x", "journal.jsonl", "", "sweep.toml"]
)
def test_paths_outside_of_the_trials_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="not a file of a sweep's trials"):
        put(Path("/nowhere"), {name: b""})


def test_a_mirror_without_a_process_is_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    living = Mirror(scratch)
    child = multiprocessing.get_context("fork").Process(target=_die_with, args=(scratch,))
    child.start()
    child.join()
    left = [path for path in (scratch / "work").iterdir() if path != living.folder]
    assert len(left) == 1
    other = Mirror(scratch)
    assert set((scratch / "work").iterdir()) == {living.folder, other.folder}
    other.close()
    assert set((scratch / "work").iterdir()) == {living.folder}


def _die_with(scratch: Path) -> None:
    Mirror(scratch)
    os._exit(1)


def test_other_users_cannot_read_it(mirror: Mirror) -> None:
    assert mirror.scratch.stat().st_mode & 0o077 == 0
    assert mirror.folder.stat().st_mode & 0o077 == 0


def test_arrays_are_stored_once_per_node(tmp_path: Path, mirror: Mirror) -> None:
    data = prepare("digits", tmp_path / "home")
    shelf = DataShelf(mirror.scratch, holds)
    assert not shelf.has(data.digest)
    shelf.put(data.digest, data_files(Path(data.folder)))
    assert shelf.has(data.digest)
    stored = shelf.path_of(data.digest) / "train_labels.npy"
    content, before = stored.read_bytes(), stored.stat()
    assert content == (Path(data.folder) / stored.name).read_bytes()
    DataShelf(mirror.scratch, holds).put(data.digest, {stored.name: b"others"})
    assert stored.stat() == before


def test_damaged_arrays_of_a_node_are_replaced(tmp_path: Path, mirror: Mirror) -> None:
    data = prepare("digits", tmp_path / "home")
    files = data_files(Path(data.folder))
    DataShelf(mirror.scratch, holds).put(data.digest, files)
    stored = DataShelf(mirror.scratch, holds).path_of(data.digest) / "train_labels.npy"
    content = stored.read_bytes()
    stored.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    other = DataShelf(mirror.scratch, holds)
    assert not other.has(data.digest)
    other.put(data.digest, files)
    assert other.has(data.digest)
    assert stored.read_bytes() == content


def whole(payload: bytes, folder: Path) -> bytes:
    """The bytes of a checkpoint with this payload."""
    checkpoints.write(folder, 1, 1, payload)
    return (folder / checkpoints.CURRENT).read_bytes()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_store_at_a_url_keeps_files(kind: str, tmp_path: Path) -> None:
    url = f"{kind}://{tmp_path}/kept/a-sweep"
    assert is_url(url)
    one, two, three = (whole(payload, tmp_path / "made") for payload in (b"1", b"2", b"33"))
    store = Store(url)
    assert store.get(BELOW) == {}
    store.put({f"{KEPT}/a.pt": one, f"{LEFT}/a.pt": two})
    store.put({f"{KEPT}/a.pt": three})
    assert store.get(BELOW) == {f"{KEPT}/a.pt": three, f"{LEFT}/a.pt": two}
    assert store.get([LEFT]) == {f"{LEFT}/a.pt": two}
    store.put({f"{LEFT}/b.pt": two[:-1], f"{LEFT}/c.pt": b"no checkpoint"})
    assert store.get([LEFT]) == {f"{LEFT}/a.pt": two}
    other = Store(url)
    other.remove(KEPT)
    other.remove(KEPT)
    assert store.get(BELOW) == {f"{LEFT}/a.pt": two}
    other.remove()
    other.remove()
    assert store.get(BELOW) == {}


def test_a_store_in_a_folder_opens_only_complete_regular_files(tmp_path: Path) -> None:
    content = whole(b"1", tmp_path / "made")
    store, folder = Store(f"file://{tmp_path}/kept"), tmp_path / "kept" / KEPT
    store.put({f"{KEPT}/a.pt": content})
    os.mkfifo(folder / "fifo.pt")
    (folder / "folder.pt").mkdir()
    (folder / "link.pt").symlink_to(folder / "a.pt")
    (folder / "zero.pt").symlink_to("/dev/zero")
    (folder / "sparse.pt").write_bytes(content)
    os.truncate(folder / "sparse.pt", 1 << 40)
    assert store.get([KEPT]) == {f"{KEPT}/a.pt": content}


def test_only_complete_regular_checkpoints_are_sent(sweep: Path, tmp_path: Path) -> None:
    other = "trials/b8-s1"
    checkpoints.write(sweep / other, 1, 10, b"whole")
    os.truncate(sweep / KEPT / checkpoints.CURRENT, 1 << 40)
    (sweep / LEFT / checkpoints.CURRENT).unlink()
    os.mkfifo(sweep / LEFT / checkpoints.CURRENT)
    assert set(carried(sweep, (*BELOW, other))) == {f"{other}/{checkpoints.CURRENT}"}


def test_received_files_replace_what_is_in_their_way(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "trials").mkdir()
    (tmp_path / KEPT).symlink_to(outside)
    (tmp_path / LEFT / "a.pt").mkdir(parents=True)
    put(tmp_path, {f"{KEPT}/a.pt": b"1", f"{LEFT}/a.pt": b"2"})
    assert (tmp_path / KEPT / "a.pt").read_bytes() == b"1"
    assert (tmp_path / LEFT / "a.pt").read_bytes() == b"2"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "file://"])
def test_the_mark_identifies_the_store(kind: str, tmp_path: Path) -> None:
    here = f"{kind}{tmp_path}/kept/a-sweep"
    assert not open_store(here).is_marked()
    open_store(here).mark()
    assert open_store(here).is_marked()
    assert not open_store(f"{kind}{tmp_path}/kept/another").is_marked()
    open_store(here).remove()
    assert not open_store(here).is_marked()
    assert (tmp_path / "kept").is_dir()


def test_a_store_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(UsageProblem, match=r"^--checkpoints htps://x: .*; did you mean 'https'\?$"):
        open_store("htps://x")

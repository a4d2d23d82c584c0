"""A node's copy of a sweep's folder: which files are sent in both directions, and which are not."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.checkpoints.mirror import DataShelf, Mirror, carried, data_files, put
from batchscope.engine.checkpoints.remote_store import Store, is_url, open_store
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
    source = tmp_path / "mnist"
    source.mkdir()
    (source / "train.npy").write_bytes(b"images")
    shelf = DataShelf(mirror.scratch)
    assert not shelf.has("abc")
    shelf.put("abc", data_files(source))
    assert shelf.has("abc")
    assert (shelf.path_of("abc") / "train.npy").read_bytes() == b"images"
    before = (shelf.path_of("abc") / "train.npy").stat()
    DataShelf(mirror.scratch).put("abc", {"train.npy": b"others"})
    assert (shelf.path_of("abc") / "train.npy").stat() == before


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_store_at_a_url_keeps_files(kind: str, tmp_path: Path) -> None:
    url = f"{kind}://{tmp_path}/kept/a-sweep"
    assert is_url(url)
    store = Store(url)
    assert store.get(BELOW) == {}
    store.put({f"{KEPT}/a.pt": b"1", f"{LEFT}/a.pt": b"2"})
    store.put({f"{KEPT}/a.pt": b"3"})
    assert store.get(BELOW) == {f"{KEPT}/a.pt": b"3", f"{LEFT}/a.pt": b"2"}
    assert store.get([LEFT]) == {f"{LEFT}/a.pt": b"2"}
    other = Store(url)
    other.remove(KEPT)
    other.remove(KEPT)
    assert store.get(BELOW) == {f"{LEFT}/a.pt": b"2"}
    other.remove()
    other.remove()
    assert store.get(BELOW) == {}


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

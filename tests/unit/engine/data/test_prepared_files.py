"""Prepared images of which any byte was changed, cut off, or replaced by something else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import ARRAYS, SUMMARY, find, holds, load_arrays
from batchscope.engine.data.raw_files import DataError
from tests.unit.engine.data.prepare_fixtures import write_mnist

MNIST = DATASETS["mnist"]
FILES = (*(f"{name}.npy" for name in ARRAYS), SUMMARY)
HEADER, SAMPLED = 128, 211
"""Of the pixels, every 211th byte is changed; of all else, every byte."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("whole")
    write_mnist(root / "files", train=3, test=2)
    return prepare("mnist", root / "home", root / "files")


@pytest.fixture
def folder(whole: Prepared, tmp_path: Path) -> Path:
    copied: Path = shutil.copytree(whole.folder, tmp_path / "copy")
    return copied


def places(name: str, size: int) -> Iterator[int]:
    dense = HEADER if name.endswith("images.npy") else size
    yield from range(dense)
    yield from range(dense, size, SAMPLED)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_or_changes_nothing(
    whole: Prepared, folder: Path, name: str
) -> None:
    expected = msgspec.structs.replace(whole, folder=str(folder))
    path = folder / name
    content = path.read_bytes()
    for place in places(name, len(content)):
        for flip in (1, 0x20, 0x80):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
            )
            found = find(MNIST, folder)
            assert found == expected or isinstance(found, str)
            if name != SUMMARY and place >= HEADER:
                assert found == "the content has changed (wrong checksum)"


@pytest.mark.parametrize("name", FILES)
def test_a_cut_is_found_at_any_length(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for length in places(name, len(content)):
        path.write_bytes(content[:length])
        assert isinstance(find(MNIST, folder), str)


@pytest.mark.parametrize("how", ["fifo", "folder", "device", "loop", "gone", "sparse", "nested"])
@pytest.mark.parametrize("name", FILES)
def test_other_things_are_neither_read_nor_waited_for(folder: Path, name: str, how: str) -> None:
    path = folder / name
    if how == "sparse":
        os.truncate(path, 1 << 40)
    elif how == "nested":
        path.write_bytes(b"[" * 1_000_000)
    else:
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how in ("device", "loop"):
        path.symlink_to("/dev/zero" if how == "device" else path)
    found = find(MNIST, folder)
    assert isinstance(found, str)
    assert found.isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "fashion-mnist"),
        ("train", 2),
        ("test", 10**12),
        ("train", -3),
        ("shape", (1, 28, 27)),
        ("classes", 11),
        ("digest", "0" * 64),
        ("format", 2),
    ],
)
def test_no_field_of_the_summary_is_believed(
    whole: Prepared, folder: Path, field: str, value: object
) -> None:
    changed = msgspec.structs.replace(whole, **{field: value})
    (folder / SUMMARY).write_bytes(msgspec.json.encode(changed))
    assert isinstance(find(MNIST, folder), str)


def test_an_array_in_another_order_is_not_taken(folder: Path) -> None:
    """The same bytes, of which the header says that they run column by column."""
    path = folder / "train_images.npy"
    content = path.read_bytes()
    changed = content.replace(b"False,", b"True, ")
    assert len(changed) == len(content) != 0
    path.write_bytes(changed)
    assert find(MNIST, folder) == "train_images.npy has another size or a damaged header"


def test_workers_check_what_they_map(whole: Prepared, folder: Path) -> None:
    moved = msgspec.structs.replace(whole, folder=str(folder))
    before = load_arrays(moved)
    path = folder / "test_labels.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-8] + b"\x07" + content[-7:])
    with pytest.raises(DataError, match=r"wrong checksum\); resume the sweep") as caught:
        load_arrays(moved)
    assert not caught.value.passing
    assert not holds(folder, whole.digest)
    path.write_bytes(content)
    assert holds(folder, whole.digest)
    assert not holds(folder, "0" * 64)
    for one, other in zip(before, load_arrays(moved), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_flipped_label_is_prepared_again_and_said(tmp_path: Path) -> None:
    notes = list[str]()
    write_mnist(tmp_path / "files")

    def again() -> Prepared:
        return prepare("mnist", tmp_path / "home", tmp_path / "files", note=notes.append)

    first = again()
    path = Path(first.folder) / "train_labels.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    assert again() == first
    assert notes == [
        f"the prepared images in {first.folder} are damaged"
        " (the content has changed (wrong checksum)); they are prepared again"
    ]
    assert path.read_bytes() == content
    assert again() == first
    assert len(notes) == 1


@pytest.mark.parametrize("how", ["file", "fifo", "link"])
def test_other_things_in_the_place_of_the_folder(tmp_path: Path, how: str) -> None:
    write_mnist(tmp_path / "files")
    first = prepare("mnist", tmp_path / "home", tmp_path / "files")
    folder = Path(first.folder)
    folder.rename(tmp_path / "outside")
    if how == "file":
        folder.write_bytes(b"")
    elif how == "fifo":
        os.mkfifo(folder)
    else:
        folder.symlink_to("/dev/zero")
    assert prepare("mnist", tmp_path / "home", tmp_path / "files") == first
    assert folder.is_dir()
    assert not folder.is_symlink()

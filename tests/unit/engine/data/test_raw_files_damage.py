"""Files of each format, truncated or changed at any position."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.data.cifar10_files import read_cifar10
from batchscope.engine.data.mnist_files import read_idx
from batchscope.engine.data.raw_files import DataError
from tests.unit.engine.data.raw_file_fixtures import (
    Bytes,
    batch,
    idx,
    small_archive,
    some_bytes,
    write_cifar10,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


PLAIN = idx(some_bytes(6, 9, 9))
COMPRESSED = gzip.compress(PLAIN, mtime=0)
BATCH = batch(2, 5)
ARCHIVE = small_archive()
SAMPLES = [PLAIN, COMPRESSED, BATCH, ARCHIVE]
NAMES = ["plain", "gz", "batch", "archive"]


def read_sample(folder: Path, kind: str, content: bytes) -> Bytes:
    """The pixels of a file of this kind; the folder holds what else such a file needs."""
    place = folder / kind
    if kind == "batch":
        if not place.is_dir():
            write_cifar10(place, count=2)
        (place / "test_batch").write_bytes(content)
        return read_cifar10(place).test_images
    if kind == "archive":
        place.mkdir(exist_ok=True)
        (place / "cifar-10-python.tar.gz").write_bytes(content)
        return read_cifar10(place).test_images
    place.write_bytes(content)
    return read_idx(place)


@pytest.mark.parametrize(("kind", "content"), zip(NAMES, SAMPLES, strict=True), ids=NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_truncated_file_is_rejected(
    scratch: Path, kind: str, content: bytes, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match=str(scratch)):
        read_sample(scratch, kind, content[:length])


@pytest.mark.parametrize(("kind", "content"), zip(NAMES, SAMPLES, strict=True), ids=NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_changed_byte_is_rejected_or_harmless(
    scratch: Path, kind: str, content: bytes, data: st.DataObject
) -> None:
    """What gzip covers by its sum is never read wrongly; the rest never ends in another error."""
    place = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255))
    changed = content[:place] + bytes([value]) + content[place + 1 :]
    whole = read_sample(scratch, kind, content)
    try:
        pixels = read_sample(scratch, kind, changed)
    except DataError:
        return
    assert pixels.dtype == np.uint8
    if kind in ("gz", "archive"):
        np.testing.assert_array_equal(pixels, whole)

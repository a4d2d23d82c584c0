"""The collector is held and goes on; where nobody held it, nothing is set aside."""

import gc
from collections.abc import Iterator

import pytest

from batchscope.tui.gc_pause import go_on, hold


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_collection_resumes_without_the_loaded_objects() -> None:
    hold()
    assert not gc.isenabled()
    go_on()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_where_nothing_was_held_nothing_is_set_aside() -> None:
    gc.unfreeze()
    before = gc.get_freeze_count()
    go_on()
    assert gc.get_freeze_count() == before

"""What the functional tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.lab import Lab, a_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A place to run the program in, with a home of its own."""
    with a_lab(tmp_path) as made:
        yield made

"""Fixtures of the functional tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.lab import Lab, a_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Yield a lab, which runs the program in a separate home."""
    with a_lab(tmp_path) as made:
        yield made

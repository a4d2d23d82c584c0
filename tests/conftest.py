"""Fixtures of all tests."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# `python -m pytest` puts the checkout there, where `engine` and `tui` can be imported
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path for a settings file, so that tests do not read the user's own settings."""
    path = tmp_path / "config" / "settings.toml"
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(path))
    return path

"""What all tests share."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a settings file would be, instead of the one of whoever runs the tests."""
    path = tmp_path / "config" / "settings.toml"
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(path))
    return path

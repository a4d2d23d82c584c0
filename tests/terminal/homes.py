"""A home folder for the installed program, and what is stored in it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.terminals import COMMAND


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose sweeps do not outlive the test."""
    yield tmp_path / "home"
    subprocess.run([COMMAND, "stop", "--all", "--home", str(tmp_path / "home")], check=True)


def stored(home: Path) -> list[dict[str, object]]:
    """Return what `batchscope list --json` says."""
    done = subprocess.run(
        [COMMAND, "list", "--json", "--home", str(home)], capture_output=True, check=True
    )
    sweeps: list[dict[str, object]] = json.loads(done.stdout)
    return sweeps

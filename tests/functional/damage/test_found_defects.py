"""Defects that the campaign has found, each in the smallest form."""

import os
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.sweeps.launcher import LOG
from batchscope.engine.sweeps.store import LOCK, Launch, create_sweep, home_folder
from tests.functional.damage.recording import STOPPED
from tests.functional.lab import Lab


@pytest.fixture
def folder(lab: Lab) -> Path:
    """A sweep that was never started."""
    preset = lab.root / "never.toml"
    preset.write_text(STOPPED)
    return create_sweep(home_folder(str(lab.home)), load_preset(preset), Launch(preset="never"))


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_that_is_no_file_is_named(lab: Lab, folder: Path, kind: str) -> None:
    """The conductor ended with a traceback, of which `resume` showed the last line."""
    lock = folder / LOCK
    lock.unlink(missing_ok=True)
    match kind:
        case "link":
            lock.symlink_to(lab.root / "nothing")
        case "pipe":
            os.mkfifo(lock)
        case _:
            lock.mkdir()
    outcome = lab.run("resume", folder.name)
    assert outcome.code in (2, 3)
    assert LOCK in outcome.message
    assert "Traceback" not in (folder / LOG).read_text()
    assert not os.path.lexists(lab.root / "nothing")

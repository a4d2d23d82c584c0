"""Defects that the campaign has found, each in the smallest form."""

import os
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.processes.link import last_lines, open_log
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


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "file"])
def test_a_log_that_is_no_file_is_replaced(tmp_path: Path, kind: str) -> None:
    """The conductor waited for a reader of the pipe, and wrote to the file behind the link."""
    log, outside = tmp_path / "worker-0.log", tmp_path / "outside"
    outside.touch()
    match kind:
        case "link":
            log.symlink_to(outside)
        case "pipe":
            os.mkfifo(log)
        case "folder":
            (log / "within").mkdir(parents=True)
        case _:
            log.write_bytes(b"before\n")
    with open_log(log) as file:
        file.write(b"last words\n")
    assert last_lines(log) == ["before"] * (kind == "file") + ["last words"]
    assert outside.read_bytes() == b""

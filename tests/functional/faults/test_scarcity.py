"""A conductor that may open hardly any files for a while: it says so, and goes on afterwards."""

import resource
import subprocess
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.sweeps.store import Launch, create_sweep, home_folder
from tests.functional.campaign_presets import preset_of
from tests.functional.lab import events_of, state_of, until

FEW, HARD = 12, 4096
"""Enough for the journal and the lock, but not for the pipes of two processes."""


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of others need Linux")
def test_a_conductor_without_files_waits_for_them(tmp_path: Path) -> None:
    home = home_folder(str(tmp_path / "home"))
    launch = Launch(preset="kept", device="cpu", workers=2)
    folder = create_sweep(home, load_preset(preset_of("kept", tmp_path)), launch)
    with open(folder / "conductor.log", "ab") as log:
        conductor = subprocess.Popen(
            [*module_command("batchscope.engine.conductor"), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, HARD)),
        )

    def notes() -> list[str]:
        """What it said about the images that it cannot prepare."""
        assert conductor.poll() is None, (folder / "conductor.log").read_text()
        if not (folder / journal.NAME).exists():
            return []
        texts = [event.text for event in events_of(folder) if isinstance(event, ev.Note)]
        return [text for text in texts if "cannot be prepared at present" in text]

    try:
        until(lambda: bool(notes()), "the preparer is missed")
        assert "Too many open files; trying again" in notes()[0]
        resource.prlimit(conductor.pid, resource.RLIMIT_NOFILE, (1024, HARD))
        assert conductor.wait(150) == 0
    finally:
        conductor.kill()
        conductor.wait()
    state = state_of(folder)
    assert [trial.status for trial in state.trials.values()] == ["finished"] * 3
    assert state.ended is not None
    assert state.ended.state == "finished"
    missed = [event.reason for event in events_of(folder) if isinstance(event, ev.WorkerLost)]
    assert missed == ["a worker could not be started: Too many open files"] * 2

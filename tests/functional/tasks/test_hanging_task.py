"""A task that never comes back holds up its own trials only; real processes, all of them."""

import json
import subprocess
from pathlib import Path

import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.sweeps import commands, trust
from batchscope.engine.sweeps.launch_file import Launch
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.sweeps.store import create_sweep
from tests.broken.loaded_kinds import copied, line_of
from tests.functional.lab import Lab, until

PRESET = """
title = "One of them hangs"
seeds = 1
[task]
use = "kinds:make"
[memory]
micro_batch_size = 5
[train]
lr = 0.01
batch_size = 5
epochs = 1
[grid]
"task.kind" = ["sleeps-for-ever", "plain"]
"""
SILENCE_SECONDS = 10.0
"""After so long the sweep begins without the task that hangs."""


def events(folder: Path, kind: str) -> list[dict[str, str]]:
    """What the journal says so far, of one kind."""
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [each for each in found if each["kind"] == kind]


def said(folder: Path, words: str) -> bool:
    """Whether a note says this."""
    return any(words in each["text"] for each in events(folder, "note"))


@pytest.mark.campaign
def test_the_other_trials_are_trained(lab: Lab) -> None:
    theirs = copied(lab.root / "theirs")
    (theirs / "hanging.toml").write_text(PRESET)
    for name in ("sweeps", "data"):
        (lab.home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    trust.trust(lab.home, theirs)
    preset = load_preset(theirs / "hanging.toml")
    launch = Launch(
        preset="hanging",
        device="cpu",
        workers=1,
        silence_seconds=SILENCE_SECONDS,
        task_folder=preset.task_folder,
    )
    folder = create_sweep(lab.home, preset, launch)
    command = module_command("batchscope.engine.conductor")
    process = subprocess.Popen([*command, str(folder)], env=lab.environment())
    try:
        until(lambda: events(folder, "ended") != [], "a trial has ended")
        (ended,) = events(folder, "ended")
        assert ended["status"] == "finished"
        assert "plain" in ended["trial"]
        place = line_of("sleeps-for-ever")
        until(
            lambda: said(folder, f"still running the task, at {place}"), "it says what it waits for"
        )
        until(lambda: said(folder, f"{place}: one call has taken 10 s so far"), "it names the line")
        assert said(folder, "the other trials begin")
        assert process.poll() is None, "it waits for the other"
        (hanging,) = (each for each in preset.configurations if "sleeps" in each.id)
        commands.send(folder, commands.Skip(trial=f"{hanging.id}-s{hanging.seeds[0]}"))
        assert process.wait(timeout=150.0) == 0
        assert events(folder, "sweep_ended")[-1]["state"] == "finished"
    finally:
        process.kill()
        process.wait()

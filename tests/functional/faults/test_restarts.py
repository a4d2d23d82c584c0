"""Resuming a sweep: after a reboot, by several at once, and from a journal cut anywhere."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.export.bundle import write_export
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.crash_campaign import TABLES, kill, tables
from tests.functional.lab import Lab, conductor_of, ended, events_of, state_of, until

PRESET = """
title = "To be taken up"
seeds = 2
[data]
name = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
batch_size = 200
lr = 0.05
epochs = {epochs}
[memory]
micro_batch_size = 200
[run]
stack = "never"
"""
CUTS = 4
UNPROBED = TABLES[:3]


def write(lab: Lab, epochs: int) -> str:
    path = lab.root / "restart.toml"
    path.write_text(PRESET.format(epochs=epochs))
    return str(path)


@pytest.mark.campaign
def test_only_one_of_several_conductors_runs_the_sweep(lab: Lab) -> None:
    first = lab.start("--preset", write(lab, 10**8), "--export", "out", "--workers", "2")
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "a conductor has taken charge")
    until(lambda: state_of(folder).count("running") > 0, "a trial runs")
    kill(conductor_of(folder))
    ended(first)
    until(lambda: not conductor_lives(folder), "nobody holds the sweep")
    before = [event for event in events_of(folder) if isinstance(event, ev.ConductorStarted)]
    words = [*module_command("batchscope.engine.conductor"), str(folder)]
    rivals = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(5)
    ]
    try:
        until(lambda: sum(each.poll() is None for each in rivals) == 1, "one is left")
        (winner,) = (each for each in rivals if each.poll() is None)
        for loser in rivals:
            if loser is not winner:
                assert loser.stdout
                (said,) = loser.stdout.read().splitlines()
                assert said.startswith(f"{folder.name}: another conductor")
                assert loser.wait() == 0
        until(lambda: state_of(folder).count("running") > 0, "it trains")
        found = [event for event in events_of(folder) if isinstance(event, ev.ConductorStarted)]
        assert [event.pid for event in found[len(before) :]] == [winner.pid]
    finally:
        kill(*(each.pid for each in rivals))
        for each in rivals:
            each.wait()
            assert each.stdout
            each.stdout.close()


@pytest.mark.campaign
def test_a_sweep_resumes_after_a_reboot_without_touching_other_programs(lab: Lab) -> None:
    """The conductor's process id belongs to another program then."""
    follower = lab.start("--preset", write(lab, 400), "--export", "out", "--workers", "2")
    folder = lab.only_folder()
    kept = folder / checkpoints.TRIALS
    until(lambda: bool(list(kept.glob("*/checkpoint.pt"))), "a trial is kept")
    os.kill(conductor_of(folder), signal.SIGKILL)
    ended(follower)
    until(lambda: not conductor_lives(folder), "everything is dead")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        content = (folder / journal.NAME).read_bytes().split(b"\n")
        other = [
            journal.sealed(ev.ConductorStarted(at=event.at, pid=stranger.pid, machine={}))[:-1]
            if line and isinstance(event := journal.decode(line), ev.ConductorStarted)
            else line
            for line in content
        ]
        (folder / journal.NAME).write_bytes(b"\n".join(other) + b'{"kind":"epo')
        notice.NoticeFile(folder).say("the journal cannot be written: before the reboot")
        (sorted(kept.glob("*"))[0] / "checkpoint.1.tmp").write_bytes(b"half of one")
        assert lab.run("stop", "--all").out == "no sweep is running\n"
        done = lab.run("resume", folder.name)
        assert done.code == 0, done.err
        assert psutil.pid_exists(stranger.pid)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    state = state_of(folder)
    assert {trial.status for trial in state.trials.values()} == {"finished"}
    again = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted) and e.attempt == 2]
    assert again
    assert any(start.resumed_steps for start in again)
    assert notice.read(folder) == ""
    assert not list(kept.glob("*"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("finished"))
    done = lab.run("--preset", write(lab, 12), "--export", "out", "--workers", "2")
    assert done.code == 0, done.err
    return lab


@pytest.mark.parametrize("seed", range(CUTS))
def test_a_sweep_with_a_cut_journal_ends_with_the_same_results(
    seed: int, finished: Lab, tmp_path: Path
) -> None:
    """The journal is cut anywhere; lost epochs are trained again with the same bits."""
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    (folder,) = (home / "sweeps").glob("*")
    content = (folder / journal.NAME).read_bytes()
    share = (seed + random.Random(seed).random()) / CUTS
    (folder / journal.NAME).write_bytes(content[: int(share * len(content))])
    lab = Lab(tmp_path / "lab")
    lab.home = home
    done = lab.run("resume", folder.name)
    assert done.code == 0, done.err
    write_export(folder, tmp_path / "export", report=False)
    found, expected = (tables(p, UNPROBED) for p in (tmp_path / "export", finished.cwd / "out"))
    assert found == expected
    assert not [event for event in events_of(folder)[1:] if isinstance(event, ev.JournalOpened)]
    lab.close()

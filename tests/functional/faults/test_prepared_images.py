"""Damaged prepared images, and a preparation that was killed, through the real command."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

import msgspec
import psutil

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.prepared_files import SUMMARY
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.lab import (
    Lab,
    conductor_of,
    copy_of_recorded,
    ended,
    events_of,
    recorded,
    sets,
    state_of,
    until,
)

ONE = sets(
    *("seeds=1", "train.epochs=2", "grid.batch_size=[64]", "run.stack=never"),
    "memory.micro_batch_size=64",
)
"""One short trial. Its micro-batch is not measured: that depends on how busy the machine is, and
other sums have other bits."""


def flip(path: Path, place: int) -> bytes:
    """Change a bit of a file; return what the file was."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[place] ^= 1
    path.write_bytes(changed)
    return content


def notes(folder: Path) -> list[str]:
    return [event.text for event in events_of(folder) if isinstance(event, ev.Note)]


def figures(folder: Path) -> list[tuple[float | None, float | None]]:
    (trial,) = state_of(folder).trials.values()
    return [(record.test_loss, record.test_accuracy) for record in trial.records]


def test_a_flipped_label_never_trains(lab: Lab) -> None:
    """The images are prepared again, the log says so, and every figure is as it was."""
    command = ["--preset", "quickstart", *ONE, "--workers", "1", "--quiet", "--export"]
    assert lab.run(*command, "whole").code == 0
    (prepared,) = (lab.home / "data").glob("digits-*")
    labels = prepared / "train_labels.npy"
    content = flip(labels, -8)
    done = lab.run(*command, "flipped")
    assert done.code == 0, done.err
    whole, flipped = lab.folders()
    assert any("are damaged" in text and "prepared again" in text for text in notes(flipped))
    assert labels.read_bytes() == content
    assert figures(flipped) == figures(whole) != []
    assert not any("damaged" in text for text in notes(whole))


def test_a_damaged_summary_is_repaired_when_a_sweep_continues(tmp_path: Path) -> None:
    """Its digest differs from the recorded one, but the images are the same."""
    lab = copy_of_recorded(tmp_path / "lab")
    (prepared,) = (lab.home / "data").glob("digits-*")
    content = flip(prepared / SUMMARY, -40)  # within the digest
    folder = lab.only_folder()
    (folder / journal.NAME).write_bytes(_without_the_end(folder))
    done = lab.run("resume", folder.name)
    assert done.code == 0, done.err
    assert any("are damaged" in text for text in notes(folder))
    whole, mended = (
        msgspec.json.decode(each, type=Prepared)
        for each in (content, (prepared / SUMMARY).read_bytes())
    )
    assert mended.digest == whole.digest
    trials, before = state_of(folder).trials, state_of(recorded().folder).trials
    assert {name: trial.last and trial.last.test_loss for name, trial in trials.items()} == {
        name: trial.last and trial.last.test_loss for name, trial in before.items()
    }
    lab.close()


def _without_the_end(folder: Path) -> bytes:
    """The journal up to the last trial's end, as a kill leaves it."""
    lines = (folder / journal.NAME).read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"kind":"ended"' in line)
    return b"".join(lines[:last])


def preparers(conductor: int) -> list[psutil.Process]:
    """The processes of a conductor that prepare images."""
    found = []
    for child in psutil.Process(conductor).children():
        try:
            if "batchscope.engine.data.prepare" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


def begun(folder: Path) -> bool:
    return (folder / journal.NAME).exists() and any(
        isinstance(event, ev.ConductorStarted) for event in events_of(folder)
    )


def test_a_killed_preparer_is_replaced(lab: Lab) -> None:
    """It waits for a lock that this test holds, so that it lives long enough to be killed."""
    lab.bare = True
    data = lab.home / "data"
    for folder in (lab.home, data):
        folder.mkdir(mode=0o700)
    with open(data / "digits.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        follower = lab.start(
            *("--preset", "quickstart", *ONE), *("--workers", "1", "--export", "out")
        )
        folder = lab.only_folder()
        until(lambda: begun(folder), "a conductor has taken charge")
        conductor = conductor_of(folder)
        until(lambda: len(preparers(conductor)) == 1, "a preparation has begun")
        (first,) = preparers(conductor)
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: [p.pid for p in preparers(conductor)] not in ([], [first.pid]), "another")
        until(
            lambda: any("waiting for another process" in text for text in notes(folder)), "a note"
        )
    done = ended(follower)
    assert done.code == 0, done.err
    assert any("was killed by signal 9; it is started again" in text for text in notes(folder))
    assert [trial.status for trial in state_of(folder).trials.values()] == ["finished"]
    assert "signal 9" in done.err
    shutil.rmtree(data)


def test_a_preparer_ends_with_its_conductor(lab: Lab) -> None:
    """Also one that is stopped, and so cannot see that nobody reads its words."""
    lab.bare = True
    data = lab.home / "data"
    for folder in (lab.home, data):
        folder.mkdir(mode=0o700)
    with open(data / "digits.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lab.start(*("--preset", "quickstart", *ONE), *("--workers", "1", "--export", "out"))
        folder = lab.only_folder()
        until(lambda: begun(folder), "a conductor has taken charge")
        conductor = conductor_of(folder)
        until(lambda: len(preparers(conductor)) == 1, "a preparation has begun")
        (preparer,) = preparers(conductor)
        os.kill(preparer.pid, signal.SIGSTOP)
        os.kill(conductor, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(preparer.pid), "the preparer is gone")

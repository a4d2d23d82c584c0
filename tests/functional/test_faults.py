"""What goes wrong at awkward moments, for real: and nothing hangs or is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from engine import events as ev
from engine import journal
from tests.functional.running import Lab, conductor_of, ended, events_of, state_of, until

LONG = """
title = "Long"
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 1500
[grid]
batch_size = [64, 256, 512]
"""


def workers_of(conductor: int) -> set[int]:
    """Processes of the workers that a conductor has now."""
    found = set()
    for child in psutil.Process(conductor).children():
        try:
            if "engine.worker" in child.cmdline():
                found.add(child.pid)
        except psutil.Error:
            continue
    return found


def test_a_replacement_that_dies_while_starting_costs_only_its_place(lab: Lab) -> None:
    (lab.root / "long.toml").write_text(LONG)
    follower = lab.start(
        *("--export", "out", "--preset", str(lab.root / "long.toml"), "--workers", "2")
    )
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "the journal is there")
    until(lambda: state_of(folder).count("running") == 2, "two trials run")
    conductor = conductor_of(folder)
    before = workers_of(conductor)
    started = [e for e in events_of(folder) if isinstance(e, ev.TrialStarted) and e.worker == 0]
    (pid,) = (e.pid for e in events_of(folder) if isinstance(e, ev.WorkerReady) and e.worker == 0)
    os.kill(pid, signal.SIGKILL)
    until(lambda: bool(workers_of(conductor) - before), "another worker starts")
    for replacement in workers_of(conductor) - before:
        os.kill(replacement, signal.SIGKILL)
    outcome = ended(follower)
    assert outcome.code == 1, outcome.err
    found = {trial.id: trial.status for trial in state_of(folder).trials.values()}
    assert found.pop(started[0].trial) == "failed"
    assert set(found.values()) == {"finished"}
    until(lambda: not psutil.pid_exists(conductor), "the conductor is gone")


def test_a_worker_ends_with_its_orders_also_if_the_last_is_torn() -> None:
    worker = subprocess.run(
        [sys.executable, "-P", "-m", "engine.worker"],
        input=b'{"order":"tra',
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert worker.stdout == b""


FILL = """
import resource, signal, sys
from pathlib import Path
from engine import journal
from engine.events import Note

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = journal.Writer(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 5000))
refused = 0
for number in range(40):
    try:
        writer.append(Note(text=f"{number:02} " + "x" * 40))
    except OSError:
        refused += 1
        if refused == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
print(refused)
"""


def test_what_a_full_disk_cut_off_does_not_swallow_the_next_event(tmp_path: Path) -> None:
    path = tmp_path / journal.NAME
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"3\n"
    reader = journal.Reader(path)
    numbers = [int(event.text[:2]) for event in reader.read_all() if isinstance(event, ev.Note)]
    assert reader.damaged == 0
    assert len(numbers) == 37
    assert numbers == sorted(numbers)
    assert numbers[-1] == 39

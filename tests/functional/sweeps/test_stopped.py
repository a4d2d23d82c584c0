"""Sweeps that are stopped, interrupted or killed, and then resumed."""

import json
import os
import signal
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.lab import Lab, a_lab, conductor_of, copy_of_recorded, ended, events_of, until
from tests.functional.sweep_fixtures import FOREVER, THREE, preset_file, statuses, table, under_way
from tests.messages import says

SOME_SECONDS = FOREVER.replace("epochs = 100000000", "seconds = 4")


def starts(folder: Path) -> dict[str, int]:
    """How often each trial was begun."""
    found = [event.trial for event in events_of(folder) if isinstance(event, ev.TrialStarted)]
    return {trial: found.count(trial) for trial in found}


def test_a_stopped_sweep_is_resumed_without_repeating_finished_trials(lab: Lab) -> None:
    words = ["--export", str(lab.root / "out"), "--preset", preset_file(lab, SOME_SECONDS)]
    follower = lab.start(*words, *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    stop = lab.run("stop", folder.name)
    assert (stop.code, stop.err) == (0, "")
    assert says(stop.out, f"{folder.name}: stopped | `batchscope resume {folder.name}`")
    assert not conductor_lives(folder)
    first = ended(follower)
    assert first.code == 130
    assert first.out == ""
    assert f"`batchscope resume {folder.name}`" in first.err
    assert not (lab.root / "out").exists()
    assert list(statuses(folder).values()) == ["finished", "finished", "stopped", "stopped"]
    (listed,) = lab.listed()
    assert (listed["state"], listed["trials"], listed["finished"]) == ("stopped", 4, 2)

    outcome = lab.run("resume", folder.name)
    assert outcome.code == 0, outcome.err
    assert "4 of 4 trials finished" in outcome.out
    assert list(statuses(folder).values()) == ["finished"] * 4
    assert sorted(starts(folder).values()) == [1, 1, 2, 2]
    finished = [event for event in events_of(folder) if isinstance(event, ev.TrialEnded)]
    assert sum(event.status == "finished" for event in finished) == 4
    kinds = [type(event) for event in events_of(folder)]
    assert kinds.count(ev.Planned) == 4, "the first plans are used again"
    assert lab.listed()[0]["state"] == "finished"


def test_ctrl_c_stops_a_headless_run_and_resume_finishes_it(lab: Lab) -> None:
    preset = preset_file(lab, SOME_SECONDS)
    follower = lab.start("--preset", preset, "--export", str(lab.root / "out"), "--json", *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    os.killpg(follower.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    outcome = ended(follower)
    assert outcome.code == 130
    assert outcome.out == ""
    assert "interrupted: stopping the sweep" in outcome.err
    assert "Traceback" not in outcome.err
    assert not conductor_lives(folder)
    assert lab.listed()[0]["state"] == "stopped"

    resumed = lab.run("resume", folder.name)
    assert resumed.code == 0, resumed.err
    assert list(statuses(folder).values()) == ["finished"] * 4

    export = lab.run("--export", str(lab.root / "out"), "--sweep", folder.name)
    assert export.code == 0
    rows = table(lab.root / "out", "trials.csv")
    assert sorted(row["attempt"] for row in rows) == ["1", "1", "2", "2"]


@pytest.mark.campaign
def test_a_killed_follower_or_conductor_loses_no_finished_trial(lab: Lab) -> None:
    """First the follower is killed and the sweep goes on, then the conductor, then all resumes."""
    words = ["--preset", preset_file(lab, FOREVER), "--export", str(lab.root / "out")]
    follower = lab.start(*words, *THREE)
    folder = lab.only_folder()
    until(lambda: under_way(folder), "two trials finished and two run")
    os.killpg(follower.pid, signal.SIGKILL)
    assert ended(follower).code == -signal.SIGKILL
    (listed,) = lab.listed()
    assert (listed["state"], listed["trials"], listed["finished"]) == ("running", 4, 2)
    assert conductor_lives(folder)
    workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    for pid in (conductor_of(folder), *workers):
        os.kill(pid, 0)

    partial = lab.root / "partial"
    running = lab.run("--export", str(partial), "--sweep", folder.name, "--json")
    assert json.loads(running.out)["state"] == "running"
    assert [row["status"] for row in table(partial, "trials.csv")] == [
        "finished",
        "finished",
        "running",
        "running",
    ]

    second = lab.start("resume", folder.name)
    until(lambda: second.poll() is not None or _is_following(second.pid), "resume follows")
    os.kill(second.pid, signal.SIGINT)
    outcome = ended(second)
    assert outcome.code == 130
    assert f"still running; return to it with `batchscope attach {folder.name}`" in outcome.err
    assert conductor_lives(folder)
    assert len([e for e in events_of(folder) if isinstance(e, ev.ConductorStarted)]) == 1

    os.kill(conductor_of(folder), signal.SIGKILL)
    until(lambda: not conductor_lives(folder), "the workers are gone with their conductor")
    assert lab.listed()[0]["state"] == "interrupted"

    third = lab.start("resume", folder.name)
    until(lambda: sorted(starts(folder).values()) == [1, 1, 2, 2], "the unfinished are begun again")
    until(lambda: under_way(folder), "the unfinished run again")
    assert lab.run("stop", "--all").code == 0
    assert ended(third).code == 130
    assert sorted(starts(folder).values()) == [1, 1, 2, 2]


def _is_following(pid: int) -> bool:
    """Whether the process has taken SIGINT into its own hands."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if "SigCgt" in line).split()[1], 16)
    handles_term = caught >> (signal.SIGTERM - 1) & 1
    return bool(handles_term)


@pytest.mark.campaign
def test_a_trial_that_kills_every_worker_fails_and_the_others_finish(lab: Lab) -> None:
    """Every worker that takes the trial is killed before its first checkpoint."""
    one_forever = FOREVER.rpartition("[[cells]]")[0]
    queue = one_forever + "".join(f"[[cells]]\nlr = 0.{digit}\n" for digit in (5, 6))
    out = lab.root / "out"
    words = ["--export", str(out), "--preset", preset_file(lab, queue), "--workers", "1"]
    follower = lab.start(*words)
    folder = lab.only_folder()
    third = "b512-lr0.3-epochs-100000000-s0"

    def begun(times: int) -> bool:
        return (folder / journal.NAME).exists() and starts(folder).get(third) == times

    for times in range(1, 5):
        until(lambda times=times: begun(times), "the long trial runs")  # type: ignore[misc]
        workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
        os.kill(workers[-1], signal.SIGKILL)
    outcome = ended(follower)
    assert outcome.code == 1, outcome.err
    found = statuses(folder)
    assert found.pop(third) == "failed"
    assert list(found.values()) == ["finished"] * 4
    assert "4 of 5 trials finished" in outcome.out
    rows = {row["trial"]: row for row in table(out, "trials.csv")}
    assert rows[third]["status"] == "failed"
    assert "killed by signal 9 (after 3 retries)" in rows[third]["reason"]
    assert rows[third]["attempt"] == "4"
    assert json.loads((out / "manifest.json").read_text())["exit_code"] == 1
    pids = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    assert len(set(pids)) == 5, "another worker took each dead one's place"
    assert lab.listed()[0]["state"] == "failed"


def test_a_truncated_journal_is_resumed(tmp_path: Path) -> None:
    with a_lab(tmp_path) as lab:
        copy_of_recorded(tmp_path)
        folder = lab.only_folder()
        path = folder / journal.NAME
        lines = path.read_bytes().splitlines(keepends=True)
        last = max(n for n, line in enumerate(lines) if b'"kind":"ended"' in line)
        path.write_bytes(b"".join(lines[:last]) + lines[last][:20] + b" " * 100_000)
        assert lab.listed()[0]["state"] == "interrupted"
        outcome = lab.run("resume", folder.name)
        assert outcome.code == 0, outcome.err
        assert list(statuses(folder).values()) == ["finished"] * 4
        assert sorted(starts(folder).values()) == [1, 1, 1, 2]

"""One trial with several workers, end to end: real processes that are killed, no leftovers."""

import csv
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.functional.crash_campaign import OTHERWISE
from tests.functional.lab import Lab, a_lab, conductor_of, ended, events_of, needs_no_gpu, until

PRESET = """
title = "Two workers, one trial"
[data]
name = "digits"
[model]
name = "mlp"
hidden = [32]
[train]
batch_size = 64
lr = 0.05
epochs = {epochs}
optimizer = "momentum"
[memory]
micro_batch_size = 30
[run]
stack = "never"
[grid]
data_parallel = [1, 2]
"""
EPOCHS, TOGETHER = 40, "b64-data-parallel-2-s0"
pytestmark = needs_no_gpu


def preset(lab: Lab, epochs: int) -> str:
    path = lab.root / "team.toml"
    path.write_text(PRESET.format(epochs=epochs))
    return str(path)


def table(folder: Path, name: str = "trials.csv") -> list[dict[str, str]]:
    """The figures of a table that no crash may change."""
    with open(folder / name, newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in OTHERWISE} for row in csv.DictReader(file)
        ]


def family(conductor: int) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The workers of a conductor, and the other workers that these started."""
    workers, others = list[psutil.Process](), list[psutil.Process]()
    for child in psutil.Process(conductor).children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        workers += [child] if "batchscope.engine.worker" in words else []
        others += [child] if "batchscope.engine.rank" in words else []
    return workers, others


def goes_on(
    lab: Lab, trial: str = TOGETHER
) -> tuple[Path, "list[psutil.Process]", "list[psutil.Process]"]:
    """The folder of the sweep that is under way, and its processes, once it has a checkpoint."""
    folder = lab.only_folder()
    until(lambda: (folder / journal.NAME).exists(), "the journal is there")
    until(
        lambda: any((folder / "trials").glob(f"{TOGETHER}/checkpoint.pt")), "there is a checkpoint"
    )
    workers, others = family(conductor_of(folder))
    assert len(workers) == len(others) == 1
    return folder, workers, others


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in which the preset was trained in peace, and exported to `out`."""
    with a_lab(tmp_path_factory.mktemp("undisturbed")) as quiet:
        outcome = quiet.run("--export", "out", "--preset", preset(quiet, EPOCHS), "--workers", "1")
        assert outcome.code == 0, outcome.err
        yield quiet


def test_two_workers_give_the_results_of_one(undisturbed: Lab) -> None:
    one, two = table(undisturbed.cwd / "out")
    assert (one["data_parallel"], two["data_parallel"]) == ("1", "2")
    assert one["batch_size"] == two["batch_size"] == "64"
    cuts = [(row["accumulation_steps"], row["micro_batch_size"]) for row in (one, two)]
    assert cuts == [("3", "30"), ("2", "30")], "64 images, and a share of 32"
    assert float(two["test_loss"]) == pytest.approx(float(one["test_loss"]), rel=1e-3)
    assert float(two["distance_from_init"]) == pytest.approx(
        float(one["distance_from_init"]), rel=1e-4
    )
    ready = [e for e in events_of(undisturbed.only_folder()) if isinstance(e, ev.WorkerReady)]
    until(lambda: not any(psutil.pid_exists(each.pid) for each in ready), "all are gone")
    plans = load_preset(undisturbed.cwd / "out" / "sweep.toml").plans
    assert sorted(plan.data_parallel for plan in plans) == [1, 2]


@pytest.mark.campaign
def test_a_killed_worker_does_not_change_the_results(undisturbed: Lab, lab: Lab) -> None:
    """First one of the others, then the first worker; and nobody is left behind."""
    follower = lab.start("--export", "out", "--preset", preset(lab, EPOCHS), "--workers", "1")
    folder, workers, others = goes_on(lab)

    def began() -> list[int]:
        found = [event for event in events_of(folder) if isinstance(event, ev.TrialStarted)]
        return [event.attempt for event in found if event.trial == TOGETHER]

    sockets = [each for one in (*workers, *others) for each in one.net_connections("inet")]
    assert sockets, "they are connected"
    assert {each.laddr.ip for each in sockets} <= {"127.0.0.1", "::1"}, "to each other alone"
    os.kill(others[0].pid, signal.SIGKILL)
    until(lambda: not workers[0].is_running(), "the worker leaves with one of the others")
    until(lambda: began() == [1, 2], "a new team goes on")
    again, theirs = family(conductor_of(folder))
    os.kill(again[0].pid, signal.SIGKILL)
    until(lambda: not theirs[0].is_running(), "the others leave with their worker")
    until(lambda: began() == [1, 2, 3], "a new team goes on")
    last = [each for some in family(conductor_of(folder)) for each in some]
    assert len(last) == 2
    outcome = ended(follower)
    assert outcome.code == 0, outcome.err
    until(lambda: not any(each.is_running() for each in last), "all leave at the end")
    (lost, _) = [e for e in events_of(folder) if isinstance(e, ev.WorkerLost)]
    assert "its log ends: TeamLost: the workers of this trial lost each other: " in lost.reason
    for name in ("trials.csv", "epochs.csv", "gradient_norms.csv"):
        assert table(lab.cwd / "out", name) == table(undisturbed.cwd / "out", name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("grid.data_parallel=[0, 2]", "grid.data_parallel[0]: expected"),
        ("run.data_parallel=65", "run.data_parallel: expected"),
        ("run.data_parallel=2.5", "run.data_parallel: expected"),
        ("run.data_paralel=2", "unknown key 'run.data_paralel'; did you mean 'data_parallel'?"),
        ("model.batch_norm=true", "run.data_parallel: not possible with batch norm"),
    ],
)
def test_invalid_settings_are_rejected_before_the_start(
    lab: Lab, change: str, message: str
) -> None:
    outcome = lab.run("--export", "out", "--preset", preset(lab, 1), "--set", change)
    assert outcome.code == 2
    assert outcome.message.startswith(f"--set {change}: ")
    assert message.partition(": ")[2] in outcome.message
    assert not lab.folders()

"""Sweeps with large batches and real images, started in any folder, without leftovers."""

import tomllib
from pathlib import Path

from batchscope.engine.journal import events as ev
from batchscope.engine.sweeps.store import SWEEP, conductor_lives
from tests.functional.lab import (
    SHARED_DATA,
    Lab,
    conductor_of,
    events_of,
    needs_mnist,
    recorded,
    sets,
)
from tests.functional.sweep_fixtures import table

ONE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[512]")
"""One short trial."""


# ---- batch sizes beyond the data


def test_a_batch_larger_than_the_data_becomes_the_full_batch_with_a_warning(lab: Lab) -> None:
    out = lab.root / "out"
    more = sets("seeds=1", "train.epochs=2", "grid.batch_size=[2000, 3000]")
    whole = sets("memory.micro_batch_size=2000")  # else a smaller piece may be found to be faster
    outcome = lab.run("--export", str(out), *more, *whole)
    assert outcome.code == 0, outcome.err
    assert "warning: batch size 2,000 exceeds the 1,437 training samples" in outcome.err
    full, twin = table(out, "trials.csv")
    expected = {
        "trial": "b2000-s0",
        "status": "finished",
        "batch_size": "1437",
        "micro_batch_size": "1437",
        "accumulation_steps": "1",
        "epochs": "2",
        "steps": "2",
        "samples": "2874",
    }
    assert {key: full[key] for key in expected} == expected
    assert (twin["trial"], twin["status"]) == ("b3000-s0", "skipped")
    assert twin["reason"] == "with only 1,437 training samples it equals b2000-s0"


# ---- where it is started


def test_without_a_terminal_quickstart_runs_headless(lab: Lab) -> None:
    """In a folder with an `engine` and a `tui` of its own, which none of our processes import."""
    for name in ("engine", "tui", "torch", "msgspec"):
        (lab.cwd / name).mkdir()
        trap = f"raise SystemExit('{name} was imported from the current folder')"
        (lab.cwd / name / "__init__.py").write_text(trap)
    outcome = lab.run(*ONE)
    assert outcome.code == 0, outcome.err
    assert "no terminal, so quickstart runs" in outcome.err.splitlines()[0]
    assert "1 of 1 trials finished" in outcome.out
    folder = lab.only_folder()
    export = folder / "export"
    assert outcome.out.endswith(f"exported to {export}\n")
    assert [row["status"] for row in table(export, "trials.csv")] == ["finished"]
    for log in folder.glob("*.log"):
        assert "was imported" not in log.read_text()
    assert sorted(path.name for path in lab.cwd.iterdir()) == ["engine", "msgspec", "torch", "tui"]


def test_stored_files_are_private() -> None:
    assert recorded().folder.stat().st_mode & 0o777 == 0o700
    assert recorded().lab.home.stat().st_mode & 0o777 == 0o700


# ---- real images


@needs_mnist
def test_mnist_epochs_learns_the_real_images(lab: Lab) -> None:
    """One epoch of 10,000 images: such a network is known to be right nine times in ten by then.

    The plan is given, with one thread, so that a busy machine doesn't slow it down.
    """
    plan = (
        'plan=[{group="b16-s0", members=["b16-s0"], batch_size=16, micro_batch_size=16, '
        "accumulation_steps=1, evaluation_batch_size=500, threads=1}]"
    )
    out = lab.root / "out"
    more = sets("seeds=1", "train.epochs=1", "grid.batch_size=[16]", plan)
    words = ["--export", str(out), "--preset", "mnist-epochs", "--data-dir", str(SHARED_DATA)]
    outcome = lab.run(*words, *more)
    assert outcome.code == 0, outcome.err
    assert "mnist: 10,000 training and 10,000 test images" in outcome.err
    (row,) = table(out, "trials.csv")
    assert (row["model"], row["dataset"], row["steps"]) == ("cnn", "mnist", "625")
    assert float(row["test_accuracy"]) > 0.9
    assert float(row["train_accuracy"]) > 0.9
    (written,) = tomllib.loads((out / SWEEP).read_text("utf-8"))["plan"]
    assert (written["threads"], written["evaluation_batch_size"]) == (1, 500)


# ---- nothing is left behind


def test_a_finished_sweep_leaves_no_process() -> None:
    folder = recorded().folder
    assert not conductor_lives(folder)
    workers = [event.pid for event in events_of(folder) if isinstance(event, ev.WorkerReady)]
    assert len(workers) == 2
    for pid in (conductor_of(folder), *workers):
        command = Path(f"/proc/{pid}/cmdline")
        assert not (command.exists() and str(folder) in command.read_text())

"""An export that is killed on its way leaves the old export or the new one, byte for byte."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import PATIENCE_SECONDS, copy_of_recorded, recorded

HALF_MADE = ".out.batchscope-export-"


def half_made(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.name.startswith(HALF_MADE)]


def holds(pattern: str, count: int = 1) -> Callable[[Path], bool]:
    """Whether the folder that is being made has so many files of a pattern."""
    return lambda place: any(len(list(path.glob(pattern))) >= count for path in half_made(place))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the first table": holds("trials.csv"),
    "the first figure": holds("figures/*.svg"),
    "half of the figures": holds("figures/*.png", 3),
    "the page": holds("report.html"),
}


@pytest.mark.campaign
def test_killed_at_any_moment(tmp_path: Path) -> None:
    lab = copy_of_recorded(tmp_path / "lab")
    lab.reports = True
    place = tmp_path / "place"
    target = place / "out"
    words = ("--export", str(target), "--sweep", lab.only_folder().name)
    assert lab.run(*words).code == 0
    new = content(target)
    assert "report.html" in new
    (target / "report.html").write_text("changed by a person")
    (target / "figures" / "mine.svg").write_text("drawn by a person")
    (target / "notes" / "deep").mkdir(parents=True)
    (target / "notes" / "deep" / "years.txt").write_text("years of work")
    old = content(target)
    added = set(old) - set(new)
    new = {**new, **{name: old[name] for name in added}}
    new["report.html.changed"] = old["report.html"]
    for moment, has_come in MOMENTS.items():
        process = lab.start(*words)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not has_come(place) and process.poll() is None:
            assert time.monotonic() < deadline, moment
            time.sleep(0.0005)
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(children, PATIENCE_SECONDS)
        assert not alive, "what it had begun to draw goes with it"
        assert content(target) in (old, new), moment
        left = half_made(place)
        if moment != "the page":
            assert content(target) == old, moment
            assert len(left) == 1, "what the kill before left is cleared"
    assert lab.run(*words).code == 0
    assert content(target) == new
    assert neighbours(target) == ["out"]


def test_what_is_not_left_over_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    kept = [
        tmp_path / ".out.mine",
        tmp_path / f"{HALF_MADE}of-a-person",
        tmp_path / ".out.abcdefgh",
    ]
    held, stale = tmp_path / f"{HALF_MADE}12345678", tmp_path / f"{HALF_MADE}abcdefgh"
    link = tmp_path / f"{HALF_MADE}aaaaaaaa"
    for folder in (*kept, held, stale):
        folder.mkdir()
        (folder / "notes.txt").write_text("years of work")
    link.symlink_to(kept[0])
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        outcome = recorded().lab.run("--export", str(target), "--sweep", recorded().folder.name)
    finally:
        os.close(lock)
    assert outcome.code == 0, outcome.err
    assert not stale.exists()
    assert link.is_symlink()
    for folder in (*kept, held):
        assert (folder / "notes.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["x" * 200, "é" * 100, "[a-z]*"])
def test_any_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    outcome = recorded().lab.run("--export", str(target), "--sweep", recorded().folder.name)
    assert outcome.code == 0, outcome.err
    assert neighbours(target) == [name]

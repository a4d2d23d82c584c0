"""The real commands on a sweep with a damaged file: words instead of tracebacks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.store import LAUNCH, SWEEP
from tests.functional.lab import Outcome, copy_of_recorded
from tests.unit.engine.sweeps.damage_fixtures import directory, flipped, link, nested, pipe

OTHER = Path(__file__).parents[1] / "sweeps" / "from_an_earlier_program" / "whole"
COMPLETE = "all trials are done"


def spoil_the_experiment(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'{"kind":"sweep"', b'{"kind":"sweeq"', 1))


def in_words(outcome: Outcome, *codes: int) -> str:
    assert outcome.code in codes, outcome
    assert "Traceback" not in outcome.err
    return outcome.err


@pytest.mark.parametrize(
    ("name", "way", "state"),
    [
        (LAUNCH, flipped, "finished"),
        (LAUNCH, pipe, "finished"),
        (LAUNCH, nested, "finished"),
        (SWEEP, flipped, "finished"),
        (journal.NAME, spoil_the_experiment, "finished"),
        (journal.NAME, directory, "damaged"),
        (journal.NAME, link, "damaged"),
    ],
)
def test_a_damaged_sweep_is_shown_exported_and_deleted(
    tmp_path: Path, name: str, way: Callable[[Path], None], state: str
) -> None:
    lab = copy_of_recorded(tmp_path)
    folder = lab.only_folder()
    way(folder / name)
    (listed,) = lab.listed()
    assert (listed["id"], listed["state"], name in listed["problem"]) == (folder.name, state, True)
    assert name in lab.run("list").out
    readable = state != "damaged"
    in_words(lab.run("attach", folder.name), *((0,) if readable else (2,)))
    export = lab.run("--export", str(tmp_path / "out"), "--sweep", folder.name)
    in_words(export, *((0,) if readable else (2,)))
    if readable:
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
        assert manifest["finished"] == 4
        assert bool(manifest["damaged_files"]) == (name != LAUNCH)
        assert COMPLETE in in_words(lab.run("resume", folder.name), 0)
        in_words(lab.run("compare", str(OTHER), folder.name), 0)
        in_words(lab.run("compare", str(OTHER), str(tmp_path / "out")), 0)
    in_words(lab.run("delete", folder.name, "--yes"), 0)
    assert lab.listed() == []


@pytest.mark.parametrize("name", [LAUNCH, SWEEP])
def test_a_damaged_sweep_is_not_resumed_on_a_guess(tmp_path: Path, name: str) -> None:
    lab = copy_of_recorded(tmp_path)
    folder = lab.only_folder()
    path = folder / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"b512-s1"' not in line or b'"kind":"sweep"' in line]
    path.write_bytes(b"".join(kept))
    flipped(folder / name)
    before = path.read_bytes()
    assert name in in_words(lab.run("resume", folder.name), 2)
    assert path.read_bytes() == before

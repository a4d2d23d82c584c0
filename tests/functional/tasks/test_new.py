"""`batchscope new` writes a task and a preset that run as they are."""

import json
import tomllib

import pytest

from batchscope.engine.experiment.preset import load_preset
from tests.functional.lab import Lab, sets


def test_it_writes_two_files_and_says_what_comes_next(lab: Lab) -> None:
    outcome = lab.run("new", "mine.py")
    assert outcome.code == 0
    assert sorted(path.name for path in lab.cwd.iterdir()) == ["mine.py", "mine.toml"]
    for command in ("check mine:make", "trust .", "--preset mine.toml"):
        assert f"  batchscope {command}\n" in outcome.out
    preset = load_preset(lab.cwd / "mine.toml")
    assert preset.task_folder == str(lab.cwd)
    assert tomllib.loads((lab.cwd / "mine.toml").read_text())["task"]["use"] == "mine:make"
    assert lab.run("new", "below").code == 0
    assert (lab.cwd / "below.py").exists()


def test_commands_for_another_folder_name_it(lab: Lab) -> None:
    (lab.cwd / "with space").mkdir()
    outcome = lab.run("new", "with space/mine")
    assert f"batchscope check mine:make --path '{lab.cwd}/with space'\n" in outcome.out
    assert f"batchscope trust '{lab.cwd}/with space'\n" in outcome.out
    assert f"batchscope --preset '{lab.cwd}/with space/mine.toml'\n" in outcome.out


@pytest.mark.parametrize("there", ["mine.py", "mine.toml"])
def test_it_overwrites_nothing(lab: Lab, there: str) -> None:
    (lab.cwd / there).write_text("mine")
    outcome = lab.run("new", "mine.py")
    assert outcome.code == 2
    assert f"{there}: is there already" in outcome.message
    assert [path.name for path in lab.cwd.iterdir()] == [there]
    assert (lab.cwd / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my-task.py", "try"),
        ("class.py", "name of a Python module"),
        ("json.py", "choose another name"),
        ("torch", "choose another name"),
        ("2nd", "name of a Python module"),
        ("", "is a folder"),
    ],
)
def test_a_name_that_no_module_can_have_is_refused(lab: Lab, name: str, part: str) -> None:
    outcome = lab.run("new", name)
    assert outcome.code == 2
    assert part in outcome.message
    assert list(lab.cwd.iterdir()) == []


def test_a_folder_that_is_missing_is_named(lab: Lab) -> None:
    outcome = lab.run("new", "missing/mine.py")
    assert outcome.code == 3
    assert "missing/mine.py: cannot be written" in outcome.message


def test_the_task_passes_the_check(lab: Lab) -> None:
    assert lab.run("new", "mine.py").code == 0
    outcome = lab.run("check", "mine:make", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["measurable"] is True
    assert lab.run("trust").out == ""  # a check trusts nothing


@pytest.mark.campaign  # a sweep of a task loads torch for each trial
def test_the_preset_runs_as_it_is(lab: Lab) -> None:
    assert lab.run("new", "mine.py").code == 0
    assert lab.run("trust", ".").code == 0
    short = sets("seeds=1", "grid.batch_size=[64, 256]", "train.epochs=3")
    where = ("--export", "out", "--json", "--workers", "2")
    outcome = lab.run("--preset", "mine.toml", *short, *where)
    assert outcome.code == 0, outcome.err
    trials = (lab.cwd / "out" / "trials.csv").read_text().splitlines()
    assert len(trials) == 3
    assert all("finished" in line for line in trials[1:])

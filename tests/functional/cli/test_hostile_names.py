"""Names of folders and files, and arguments, reach the terminal without control characters."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tomli_w

from batchscope.engine.sweeps.store import SWEEP, take_lock
from tests.functional.board_fixtures import finished_sweep, running_sweep
from tests.functional.lab import COMMAND, Lab

ODD = "\x1b[31m\x1b]0;t\x07\n\t\x9b2J\u202ex\u2066\u200b[b]y"
BYTES = os.fsdecode(b"\xff\xfe")
"""A name that is not UTF-8."""
ID = f"20270115-080000-{ODD}{BYTES}"
PRESET = {
    "name": f"n{ODD}",
    "title": f"t{ODD}",
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 20},
    "grid": {"batch_size": [8, 32]},
}


@pytest.fixture
def place(lab: Lab) -> Path:
    """A home, a preset, exports and folders with odd names, in a folder with one."""
    root = lab.root / f"r{ODD}"
    lab.home = root / f"home{ODD}"
    lab.cwd = root
    for make, name in ((finished_sweep, ID), (running_sweep, f"20270115-090000-{ODD}")):
        folder = make(lab.home)
        (folder / SWEEP).write_text(tomli_w.dumps(PRESET))
        folder.rename(folder.with_name(name))
    (root / f"p{ODD}.toml").write_text(tomli_w.dumps({**PRESET, "surplus": ODD}))
    (root / f"broken{ODD}.toml").write_text("title = ")
    (root / f"data{ODD}").mkdir()
    (root / f"kept{ODD}").write_text("a file")
    return root


def harmless(text: str) -> bool:
    """Return whether a text has no control character but newlines, and no traceback."""
    return all(line.isprintable() for line in text.split("\n")) and "Traceback" not in text


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list"], 0),
        (["list", "--json"], 0),
        (["attach", "20270115-08"], 0),
        (["attach", "20270115-08", "--log-format", "json"], 0),
        (["attach", "20270115-09"], 130),
        (["attach", "2027"], 2),
        (["attach", f"20270115-08{ODD}"], 2),
        (["compare", "20270115-08", "20270115-08"], 2),
        (["compare", "20270115-08", "20270115-09"], 0),
        (["compare", "20270115-08", "20270115-09", "--json"], 0),
        (["compare", "20270115-08", "20270115-09", "--figure", f"f{ODD}.svg"], 0),
        (["compare", f"data{ODD}", f"kept{ODD}"], 2),
        (["stop", "20270115-08"], 0),
        (["stop", "--all"], 0),
        (["stop", f"{ODD}{ODD}"], 2),
        (["pause", "20270115-08"], 0),
        (["continue", "20270115-08"], 0),
        (["resume", "20270115-08", "--json"], 0),
        (["delete", "20270115-08"], 2),
        (["delete", f"20270115-090000-{ODD}"], 2),
        (["delete", f"20270115-090000-{ODD}", "--yes"], 0),
        (["delete", f"{ID}{BYTES}", "--yes"], 2),
        (["delete", ID], 2),
        (["delete", ID, "--yes"], 0),
        (["attach", ID], 0),
        (["compare", ID, BYTES], 2),
        (["stop", ID], 0),
        (["resume", ID], 0),
        (["list", BYTES], 2),
        ([BYTES], 2),
        ([f"--{BYTES}"], 2),
        (["--workers", BYTES], 2),
        (["--export", "out", "--sweep", ID, "--no-report"], 0),
        (["list", ODD], 2),
        (["list", "more", ODD], 2),
        (["presets", "--home", ODD, ODD], 2),
        ([ODD], 2),
        ([f"--{ODD}"], 2),
        ([f"-{ODD}"], 2),
        (["attach", f"--{ODD}"], 2),
        (["completion", ODD], 2),
        (["--log-format", ODD], 2),
        (["--theme", ODD], 2),
        (["--workers", ODD], 2),
        (["--memory-limit", ODD], 2),
        (["--gpu-share", ODD], 2),
        (["--on", ODD], 2),
        (["--on", "ray", "--checkpoints", f"s3x://{ODD}"], 2),
        (["--device", ODD], 2),
        (["--set", f"{ODD}=1"], 2),
        (["--set", f"train.lr={ODD}"], 2),
        (["--set", f"data.name={ODD}"], 2),
        (["--preset", ODD], 2),
        (["--preset", f"p{ODD}.toml"], 2),
        (["--preset", f"broken{ODD}.toml"], 2),
        (["--data-dir", ODD], 2),
        (["--data-dir", f"kept{ODD}"], 2),
        (["--home", f"kept{ODD}", "--preset", "quickstart"], 3),
        (["--home", f"~{ODD}"], 2),
        (["--export", f"kept{ODD}", "--sweep", "20270115-08"], 2),
        (["--export", f"out{ODD}", "--sweep", "20270115-08", "--no-report"], 0),
        (["--export", f"out{ODD}", "--sweep", "20270115-08", "--no-report", "--json"], 0),
        (["settings"], 0),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_no_name_controls_the_terminal(
    lab: Lab, place: Path, words: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    outcome = lab.run(*words, BATCHSCOPE_CONFIG=str(place / f"none{ODD}.toml"))
    assert harmless(outcome.out + outcome.err), (outcome.out, outcome.err)
    assert outcome.code == code, outcome
    assert outcome.out + outcome.err
    if "--json" in words:
        json.loads(outcome.out)


def test_a_sweep_with_such_a_name_is_found_by_json(lab: Lab, place: Path) -> None:
    names = {os.fsencode(sweep["id"]) for sweep in lab.listed()}
    assert names == {os.fsencode(path.name) for path in (lab.home / "sweeps").iterdir()}
    assert all(Path(sweep["folder"]).is_dir() for sweep in lab.listed())


def test_a_running_sweep_with_such_a_name(lab: Lab, place: Path) -> None:
    """Somebody holds its lock, but answers nothing: the command waits until that one ends."""
    folder = lab.home / "sweeps" / f"20270115-090000-{ODD}"
    lock = take_lock(folder)
    assert lock is not None
    following = lab.start("attach", "20270115-09")
    assert following.stderr is not None
    first = following.stderr.readline()
    os.close(lock)
    _, rest = following.communicate(timeout=60)
    assert harmless(first + rest)
    assert "the conductor ended unexpectedly" in rest


def test_the_log_of_a_conductor_that_did_not_start(lab: Lab, place: Path) -> None:
    """Its last line, which names what a person wrote, is part of the message."""
    folder = lab.home / "sweeps" / f"20270115-090000-{ODD}"
    (folder / SWEEP).write_text("title = ")
    (folder / "conductor.log").write_text(f"earlier{ODD}\nlast words{ODD}")
    outcome = lab.run("resume", "20270115-09")
    assert outcome.code in (1, 2, 3)
    assert harmless(outcome.out + outcome.err)


def test_doctor_names_an_odd_home(lab: Lab, place: Path) -> None:
    for more in ([], ["--json"]):
        outcome = lab.run("doctor", *more, DNNL=ODD, ONEDNN_MAX_CPU_ISA=f"avx2{ODD}", TERM=ODD)
        assert harmless(outcome.out + outcome.err), outcome.out
        assert "home" in outcome.out


def test_an_odd_settings_file(lab: Lab, place: Path) -> None:
    path = place / f"s{ODD}.toml"
    for content in (f"{json.dumps(ODD)} = 1\n", f"theme = {json.dumps(ODD)}\n", "[keys\n"):
        path.write_text(content)
        for words in (["settings"], ["attach", "20270115-08"]):
            outcome = lab.run(*words, BATCHSCOPE_CONFIG=str(path))
            assert outcome.code == 2
            assert harmless(outcome.err + outcome.out)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_offers_no_odd_name(lab: Lab, place: Path) -> None:
    (lab.home / "sweeps" / f"20270115-090000-{ODD}").rename(lab.home / "sweeps" / "20270115-x")
    for line, offered in (
        ("batchscope attach 2027", ["20270115-x"]),
        ("batchscope compare 2027", ["20270115-x"]),
        ("batchscope --preset p", []),
        ("batchscope --checkpoints kep", []),
        ("batchscope --data-dir dat", []),
    ):
        environment = {
            **{"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\013", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"},
            **{"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"},
            "_ARGCOMPLETE_STDOUT_FILENAME": str(lab.root / "offered"),
        }
        done = subprocess.run(
            [COMMAND], cwd=lab.cwd, env=lab.environment(**environment), capture_output=True
        )
        assert (done.stdout, done.stderr) == (b"", b"")
        found = (lab.root / "offered").read_text("utf-8", "surrogateescape")
        assert [word.strip() for word in found.split("\013") if word] == offered

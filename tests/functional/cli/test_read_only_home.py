"""Commands that only read work on a home that is missing, read-only or another user's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from batchscope.engine.sweeps.store import SWEEP
from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND, Lab, sets
from tests.terminal.terminals import Terminal

PRESET = {
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 20},
    "grid": {"batch_size": [8, 32, 128, 512]},
}
ONE, OTHER = "20270115-080000-one", "20270115-090000-other"
READING = (
    ["list"],
    ["list", "--json"],
    ["presets"],
    ["settings"],
    ["attach", ONE],
    ["attach"],
    ["compare", ONE, OTHER],
    ["compare", ONE, OTHER, "--json"],
    ["--export", "out", "--sweep", ONE, "--no-report"],
)
WRITING = (
    ["--preset", "quickstart", *sets("seeds=1", "train.epochs=1")],
    ["--export", "new", *sets("seeds=1", "train.epochs=1")],
    ["resume", ONE],
    ["delete", ONE, "--yes"],
    ["stop", ONE],
    ["pause", ONE],
)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Path]:
    """A home with two sweeps, which root has mounted read-only; others have no right to write."""
    home = tmp_path / "kept" / "home"
    for name in (ONE, OTHER):
        (finished_sweep(home, name) / SWEEP).write_text(tomli_w.dumps(PRESET))
    mounted = False
    if os.geteuid() == 0:
        for words in (["--bind", str(home), str(home)], ["-o", "remount,ro,bind", str(home)]):
            done = subprocess.run(["mount", *words], capture_output=True, check=False)
            if done.returncode:
                pytest.skip("mounting needs rights that are not there")
            mounted = True
    else:
        for path in (*home.rglob("*"), home):
            path.chmod(0o500 if path.is_dir() else 0o400)
    yield home
    if mounted:
        subprocess.run(["umount", str(home)], check=True)
    else:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading(lab: Lab, stored: Path, words: list[str]) -> None:
    outcome = lab.run(*words, "--home", str(stored))
    assert outcome.code == 0, outcome
    assert "Traceback" not in outcome.err
    assert outcome.out + outcome.err


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_writing_is_refused_in_words(lab: Lab, stored: Path, words: list[str]) -> None:
    outcome = lab.run(*words, "--home", str(stored))
    assert outcome.code == 3
    message = outcome.err.splitlines()[-1]
    assert message.startswith(f"batchscope: {stored}: cannot be used for sweeps and data: ")
    assert "--home" in message


def test_the_board_and_the_menu_open(stored: Path) -> None:
    with Terminal("attach", ONE, "--home", str(stored), columns=200, rows=50) as terminal:
        terminal.wait_for("0.97")
        terminal.press("w")
        terminal.wait_for("Read-only" if os.geteuid() == 0 else "Permission denied")
        terminal.press("m")
        terminal.wait_for("2 stored sweeps")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    with Terminal("--home", str(stored), columns=200, rows=50) as terminal:
        terminal.wait_for("2 stored sweeps")
        terminal.press("\r")
        terminal.wait_for("The sweep did not start", "cannot be used")
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 0


def test_a_missing_home_is_not_created(lab: Lab) -> None:
    for words, code in (
        (["list"], 0),
        (["list", "--json"], 0),
        (["attach"], 2),
        (["attach", "x"], 2),
        (["compare", "a", "b"], 2),
        (["--export=out", "--sweep", "x"], 2),
        (["presets"], 0),
    ):
        outcome = lab.run(*words)
        assert outcome.code == code, words
        assert not lab.home.exists(), words
    assert lab.run("list").err == f"no sweeps are stored in {lab.home}\n"
    assert json.loads(lab.run("list", "--json").out) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_another_user_may_read_what_is_readable(lab: Lab, stored: Path) -> None:
    """`nobody` reads a home of root's that everybody may read, and cannot use it."""
    public = lab.root / "public"
    shutil.copytree(stored, public)
    for path in (public, *public.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for folder in (lab.root, *lab.root.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            pytest.skip("the folders of tests are closed to others")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, sys.executable, "-c", ""], check=False).returncode:
        pytest.skip("the interpreter is closed to others")
    for words, code in ((["list"], 0), (["attach", ONE], 0), (["resume", ONE], 3)):
        done = subprocess.run(
            [*nobody, COMMAND, *words, "--home", str(public)],
            cwd="/",
            env={**os.environ, "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr

"""Standard streams that are closed, full or lead nowhere, and locales without Unicode."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import tomli_w

from batchscope.engine.sweeps.store import SWEEP
from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND, SMALL, Lab, recorded, state_of

PRESET = {
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 20},
    "grid": {"batch_size": [8, 32, 128, 512]},
}
ONE_SWEEP = "20270115"
NAME = os.fsencode("20270115-080000-caf\u00e9")
COMMANDS = (
    ("--help",),
    ("presets",),
    ("list",),
    ("list", "--json"),
    ("attach", ONE_SWEEP),
    ("attach", ONE_SWEEP, "--log-format", "json"),
    ("--export", "out", "--sweep", ONE_SWEEP, "--no-report"),
    ("stop", "--all"),
    ("settings",),
    ("completion", "bash"),
    ("compare", ONE_SWEEP, ONE_SWEEP),
    ("surplus",),
)
REFUSED = {"compare": 2, "surplus": 2}


@pytest.fixture
def stored(lab: Lab) -> Path:
    """A finished sweep."""
    folder = finished_sweep(lab.home)
    (folder / SWEEP).write_text(tomli_w.dumps(PRESET))
    return folder


def in_shell(lab: Lab, words: tuple[str, ...], how: str, **more: str) -> tuple[int, str]:
    """Run a command with redirections of a shell; return its exit code and what it printed."""
    line = f"{shlex.join([COMMAND, *words])} {how}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=lab.cwd,
        env=lab.environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=150,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def unchanged(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("how", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(lab: Lab, stored: Path, how: str) -> None:
    """They are as good as /dev/null, and no file of the sweep gets what is printed."""
    before = unchanged(stored)
    for words in COMMANDS:
        code, said = in_shell(lab, words, how)
        assert code == REFUSED.get(words[0], 0), words
        assert "Traceback" not in said, words
        if " " in how:
            assert said == "", words
    assert unchanged(stored) == before


@pytest.mark.parametrize("how", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1"])
def test_a_full_disk_behind_a_stream(lab: Lab, stored: Path, how: str) -> None:
    silent = (("stop", "--all"),)
    for words in COMMANDS:
        code, said = in_shell(lab, words, how)
        writes = how.startswith(">") and words[0] not in ("attach", *REFUSED)
        assert code == (3 if writes else REFUSED.get(words[0], 0)), (words, said)
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        if writes and how == ">/dev/full" and words not in silent:
            assert said.splitlines()[-1] == "batchscope: No space left on device", words


def test_a_reader_that_has_gone(lab: Lab, stored: Path) -> None:
    for words in COMMANDS:
        code, said = in_shell(lab, words, "2>&1 | head -c 0; exit ${PIPESTATUS[0]}")
        assert code in (REFUSED.get(words[0], 0), 1), words  # 1: it wrote after the reader had gone
        assert said == "", words


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
        {"LC_ALL": "C.UTF-8"},
        {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    ],
)
@pytest.mark.parametrize("name", [NAME, b"20270115-080000-\xe9\xff"])
def test_names_in_any_locale(lab: Lab, stored: Path, locale: dict[str, str], name: bytes) -> None:
    stored.rename(stored.with_name(os.fsdecode(name)))
    for words in COMMANDS[2:7]:
        code, said = in_shell(lab, words, "", **locale)
        assert code == 0, (words, said)
        assert "Traceback" not in said
        if "--json" in words:
            (sweep,) = json.loads(said)
            if "C.UTF-8" in locale.values():
                assert os.fsencode(sweep["id"]) == name
        elif words[0] == "list":
            assert said.startswith("20270115-080000-")


def test_a_whole_run_without_streams(lab: Lab) -> None:
    """Its files have the same lines as those of any run."""
    words = ("--preset", "quickstart", *SMALL, "--workers", "2", "--export", "out", "--no-report")
    code, said = in_shell(lab, words, "<&- >&- 2>&-")
    assert (code, said) == (0, "")
    (folder,) = lab.folders()
    state = state_of(folder)
    assert state.count("finished") == 4
    assert (folder / "conductor.log").read_bytes() == b""
    assert set(unchanged(lab.cwd / "out")) == set(unchanged(recorded().export))

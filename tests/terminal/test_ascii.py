"""What a terminal receives that supports ASCII only."""

import os
import subprocess
from pathlib import Path

import pytest

from batchscope.engine.sweeps.store import SWEEP
from batchscope.tui.config.panes import PANE_KEYS
from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND
from tests.terminal.terminals import Terminal

PRESET = """
title = "Größe ● 日本"
question = "?"
[data]
name = "digits"
[model]
name = "mlp"
[train]
lr = 0.1
epochs = 20
[grid]
batch_size = [8, 32, 128, 512]
"""


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A home that holds a finished sweep."""
    return finished_sweep(tmp_path / "home", title="Größe ● 日本").parent.parent


def look_around(terminal: Terminal) -> bytes:
    """All that is sent on the way through panes, help, palette and menu."""
    terminal.wait_for("What changes")
    terminal.press("".join(sorted(PANE_KEYS.values(), key=PANE_KEYS["log"].__eq__)))
    terminal.wait_for("newest at the bottom")
    terminal.press("?")
    terminal.wait_for("arrows scroll")
    terminal.press("x")
    terminal.wait_until_gone("arrows scroll")
    terminal.press("\x10")
    terminal.wait_for("Search for commands", "All panes")
    terminal.press("\x1b")
    terminal.wait_until_gone("Search for commands")
    terminal.press("m")
    terminal.wait_for("quickstart", "1 stored sweep")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    return terminal.bytes


def test_everything_is_ascii_when_asked_for(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), "--ascii") as terminal:
        assert look_around(terminal).isascii()


def test_everything_is_ascii_where_the_locale_is_not_utf8(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), LC_ALL="C") as terminal:
        assert look_around(terminal).isascii()
    with Terminal("attach", "--home", str(stored), "--no-ascii", LC_ALL="C") as terminal:
        assert "●".encode() in look_around(terminal)


@pytest.mark.parametrize(
    ("words", "locale"),
    [
        (("list",), "C"),
        (("attach", "--ascii"), "C.UTF-8"),
        (("--export", "out", "--sweep", "quickstart", "--ascii"), "C.UTF-8"),
        (("--export", "out", "--sweep", "quickstart"), "C"),
    ],
)
def test_without_a_screen_too(
    stored: Path, tmp_path: Path, words: tuple[str, ...], locale: str
) -> None:
    (folder,) = stored.glob("sweeps/*")
    (folder / SWEEP).write_text(PRESET, encoding="utf-8")
    done = subprocess.run(
        [COMMAND, *words, "--home", str(stored)],
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": locale},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert b"Gro?e o ????" in done.stdout + done.stderr
    assert (done.stdout + done.stderr).isascii()

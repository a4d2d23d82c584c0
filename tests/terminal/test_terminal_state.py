"""What the program does to a real terminal apart from drawing: clipboard, title, mouse, size."""

import base64
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.functional.board_fixtures import finished_sweep
from tests.functional.lab import COMMAND, until
from tests.terminal.terminals import Terminal

MOUSE = b"\x1b[?1000h"
SIZES = ((160, 45), (120, 26), (119, 26), (80, 24), (60, 15), (40, 10), (20, 5), (1, 1), (200, 60))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A home that holds a finished sweep."""
    return finished_sweep(tmp_path / "home").parent.parent


def leave(terminal: Terminal) -> bytes:
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    return terminal.bytes


def test_a_copy_reaches_the_clipboard(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), TMUX="") as terminal:
        terminal.wait_for("What changes", "0.97")
        terminal.press("c")
        terminal.wait_for("Copied: ")
        sent = leave(terminal)
    (encoded,) = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", sent)
    (path,) = stored.glob("copies/*.tsv")
    assert base64.b64decode(encoded).decode() + "\n" == path.read_text()


def test_an_absurd_size_in_the_environment(stored: Path) -> None:
    """A screen of that size was drawn without an end, and could not be left."""
    size = {"COLUMNS": "99999999999", "LINES": "100000"}
    with Terminal("attach", "--home", str(stored), **size) as terminal:  # type: ignore[arg-type]
        terminal.wait_for("What changes", "0.97")
        leave(terminal)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_copy_reaches_tmux(stored: Path) -> None:
    tmux = ("tmux", "-L", f"batchscope-{os.getpid()}", "-f", os.devnull)

    def run(*words: str) -> str:
        done = subprocess.run([*tmux, *words], capture_output=True, encoding="utf-8", check=False)
        return done.stdout

    board = shlex.join([COMMAND, "attach", "--home", str(stored)])
    run("new-session", "-d", "-x", "80", "-y", "24", "sleep", "60")
    try:
        run("set", "-g", "set-clipboard", "on")
        run("new-window", board)
        until(lambda: "0.97" in run("capture-pane", "-p"), "the board is there")
        run("send-keys", "c")
        until(lambda: "Copied: " in run("capture-pane", "-p"), "it says that it has copied")
        (path,) = stored.glob("copies/*.tsv")
        until(lambda: run("show-buffer") + "\n" == path.read_text(), "tmux has the copy")
        assert "quickstart 12/12 finished" in run("display", "-p", "#{pane_title}")
    finally:
        run("kill-server")


def test_the_title_names_the_sweep_and_is_restored(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored)) as terminal:
        terminal.wait_for("What changes", "0.97")
        terminal.press("m")
        terminal.wait_for("1 stored sweep")
        sent = leave(terminal)
    titles = re.findall(rb"\x1b\]2;([^\x07]*)\x07", sent)
    assert b"quickstart 12/12 finished - batchscope" in titles
    assert titles[-2:] == [b"batchscope", b""]
    assert sent.count(b"\x1b[22;2t") == sent.count(b"\x1b[23;2t") == 1
    assert sent.index(b"\x1b[22;2t") < sent.index(b"\x1b]2;")
    assert sent.rindex(b"\x1b]2;\x07\x1b[23;2t") > sent.rindex(b"batchscope\x07")


@pytest.mark.parametrize("kind", ["linux", "dumb"])
def test_no_title_is_sent_to_terminals_without_one(stored: Path, kind: str) -> None:
    with Terminal("attach", "--home", str(stored), TERM=kind) as terminal:
        terminal.wait_for("What changes", "0.97")
        sent = leave(terminal)
    assert b"\x1b]2;" not in sent
    assert b"\x1b[22;2t" not in sent


def test_the_mouse_is_left_alone_if_asked(stored: Path) -> None:
    for words, used in (((), True), (("--no-mouse",), False)):
        with Terminal("attach", "--home", str(stored), *words) as terminal:
            terminal.wait_for("What changes", "0.97")
            assert (MOUSE in leave(terminal)) is used


def test_a_settings_file_is_followed(stored: Path, no_settings: Path) -> None:
    no_settings.parent.mkdir()
    no_settings.write_text('mouse = false\nascii = true\ntheme = "dark"\n[keys]\nleave = "Q"\n')
    with Terminal("attach", "--home", str(stored), COLORTERM="truecolor") as terminal:
        terminal.wait_for("What changes", "Q leave")
        terminal.press("Q")
        assert terminal.wait_for_exit() == 0
        assert terminal.bytes.isascii()
        assert MOUSE not in terminal.bytes
        assert b"48;2;21;23;28" in terminal.bytes
    no_settings.write_text('thme = "dark"\n')
    with Terminal("attach", "--home", str(stored)) as terminal:
        assert terminal.wait_for_exit() == 2
        assert b"settings.toml: unknown key 'thme'; did you mean 'theme'?" in terminal.bytes


@pytest.mark.parametrize("keys", ["", "5", "4g", "?", "m", "\x10", "S"])
def test_any_size_at_any_moment(stored: Path, keys: str) -> None:
    with Terminal("attach", "--home", str(stored)) as terminal:
        terminal.wait_for("What changes", "0.97")
        terminal.press(keys)
        for columns, rows in SIZES:
            terminal.resize(columns, rows)
            terminal.settle()
        terminal.resize(80, 24)
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 0
        assert b"Traceback" not in terminal.bytes

"""Signals, suspending and errors leave the terminal as it was before the screen."""

import os
import re
import shutil
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchscope.engine.sweeps.store import conductor_lives
from tests.functional.board_fixtures import conductor_of, finished_sweep, running_sweep
from tests.functional.lab import COMMAND
from tests.terminal.terminals import Terminal

MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
SCREEN = "1049"
USUAL_ON = {"7", "25"}
"""Modes that are on in a terminal before anybody changes them: line wrap and the cursor."""
ASK = 'stty -a > modes-now; cmp modes-before modes-now && echo un""changed\n'
"""Tells a shell to print "unchanged" if the terminal is in the mode in which it was at first."""
READLINE = frozenset({"2004"})
"""Bash itself turns on bracketed paste."""
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A home that holds a finished sweep."""
    return finished_sweep(tmp_path / "home").parent.parent


def modes(sent: bytes) -> dict[str, bool]:
    """Return the last state of each private mode that a program set."""
    found: dict[str, bool] = {}
    for numbers, letter in MODE.findall(sent):
        found |= dict.fromkeys(numbers.decode().split(";"), letter == b"h")
    return found


def assert_left(sent: bytes, by_shell: frozenset[str] = frozenset()) -> None:
    """Check that a program has undone all that it did to the terminal."""
    last = modes(sent)
    assert {mode for mode, on in last.items() if on} <= USUAL_ON | by_shell
    assert {mode for mode in USUAL_ON if not last.get(mode, True)} == set()
    assert sent.count(b"\x1b[<u") >= len(re.findall(rb"\x1b\[>\d+u", sent))


class Watched(Terminal):
    """A terminal whose mode can be asked for."""

    @property
    def attributes(self) -> list[object]:
        return termios.tcgetattr(self._fd)[:6]

    @property
    def raw(self) -> bool:
        return not termios.tcgetattr(self._fd)[3] & termios.ICANON

    def until(self, reached: object, what: str) -> None:
        self._wait(reached, what)  # type: ignore[arg-type]


@contextmanager
def watched(*words: str) -> Iterator[tuple[Watched, list[object]]]:
    """A program whose terminal has been read before it was started."""
    line = f'read -r go; exec "{COMMAND}" "$@"'
    with Watched("-c", line, "sh", *words, command="sh") as terminal:
        before = terminal.attributes
        terminal.press("\n")
        yield terminal, before


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("place", ["board", "menu", "dialog"])
def test_a_signal_ends_the_screen_in_order(
    stored: Path, number: signal.Signals, place: str
) -> None:
    words = () if place == "menu" else ("attach",)
    with watched(*words, "--home", str(stored)) as (terminal, before):
        terminal.wait_for("1 stored sweep" if place == "menu" else "0.97")
        if place == "dialog":
            terminal.press("e")
            terminal.wait_for("Folder for report")
        assert terminal.raw
        assert modes(terminal.bytes)[SCREEN]
        os.kill(terminal.pid, number)
        assert terminal.wait_for_exit() == 128 + number
        assert_left(terminal.bytes)
        assert terminal.attributes == before
        assert b"Traceback" not in terminal.bytes


def test_a_running_sweep_goes_on_and_is_named(tmp_path: Path) -> None:
    folder = running_sweep(tmp_path / "home")
    with conductor_of(folder), watched("attach", "--home", str(tmp_path / "home")) as (terminal, _):
        terminal.wait_for("quickstart", "running")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait_for_exit() == 143
        assert conductor_lives(folder)
        assert b"is still running: `batchscope attach" in terminal.bytes
        assert_left(terminal.bytes)
    assert not (folder / "commands.jsonl").exists()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3])
def test_a_signal_while_the_program_starts(stored: Path, delay: float) -> None:
    with watched("attach", "--home", str(stored)) as (terminal, before):
        time.sleep(delay)
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait_for_exit() in (143, -signal.SIGTERM)
        assert_left(terminal.bytes)
        assert terminal.attributes == before


def test_a_terminal_that_takes_no_output_does_not_keep_the_program(stored: Path) -> None:
    """Nobody reads what it writes, so that its writes wait; the program ends without them."""
    with watched("attach", "--home", str(stored)) as (terminal, before):
        terminal.wait_for("0.97")
        for key in "12345678" * 5:
            terminal.press(key)
            time.sleep(0.05)
        os.kill(terminal.pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while not terminal._ended():
            assert time.monotonic() < deadline, "it does not end"
            time.sleep(0.05)
        assert terminal.code == 143
        assert terminal.attributes == before


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("how", ["key", "tstp", "stop"])
def test_suspended_and_continued_by_a_shell(stored: Path, how: str) -> None:
    with Watched("--norc", "--noprofile", "-i", command="bash", PS1="> ") as terminal:
        terminal.wait_for("> ")
        terminal.press(f"cd {stored.parent}; stty -a > modes-before; cat modes-before\n")
        terminal.wait_for("speed")
        terminal.press(f"clear; {COMMAND} attach --home {stored}\n")
        terminal.wait_for("0.97")
        pid = int(Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text())
        for _ in range(2):
            if how == "key":
                terminal.press("\x1a")
            else:
                os.kill(pid, signal.SIGTSTP if how == "tstp" else signal.SIGSTOP)
            terminal.until(lambda: _stopped(pid), "it stops")
            terminal.settle()
            if how != "stop":
                assert_left(terminal.bytes, READLINE)
            terminal.press(ASK)
            terminal.until(lambda: b"unchanged\r" in terminal.bytes, "the modes are compared")
            terminal.bytes = b""
            terminal.press("fg\n")
            terminal.until(lambda: b"0.97" in terminal.bytes, "drawn again")
            terminal.until(lambda: terminal.raw, "raw again")
            assert modes(terminal.bytes)[SCREEN]
        terminal.press("q")
        terminal.until(lambda: not Path(f"/proc/{pid}").exists(), "it has left")
        terminal.settle()
        assert_left(terminal.bytes, READLINE)
        terminal.press(ASK)
        terminal.until(lambda: b"unchanged\r" in terminal.bytes, "the modes are compared")


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_without_a_shell_ctrl_z_only_draws_again(stored: Path) -> None:
    """Nobody could continue it, so that the system does not stop it."""
    with Watched("attach", "--home", str(stored)) as terminal:
        terminal.wait_for("0.97")
        seen = len(terminal.bytes)
        terminal.press("\x1a")
        terminal.until(lambda: b"0.97" in terminal.bytes[seen:], "drawn again")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert_left(terminal.bytes)


CRASH = """
import sys
from batchscope.tui.screens import board
def broken(*_):
    raise KeyError("\\x1b[2Jodd\\nname")
board.BoardScreen.action_copy = broken
from batchscope.tui.cli.main import main
main()
"""


@pytest.mark.parametrize("readable", [True, False])
def test_an_error_in_the_program_is_one_message(stored: Path, readable: bool) -> None:
    if not readable:
        (stored / "crashes").write_text("in the way")
    words = ("-c", CRASH, "attach", "--home", str(stored))
    with Watched(*words, command=sys.executable) as terminal:
        before = terminal.attributes
        terminal.wait_for("0.97")
        terminal.press("c")
        assert terminal.wait_for_exit() == 1
        assert_left(terminal.bytes)
        assert terminal.attributes == before
        said = terminal.bytes.rpartition(b"\x1b[")[2]
        assert b"batchscope: an error in the program ended the screen" in said
        assert b"KeyError" in said
        assert b"Traceback" not in said
        kept = list(stored.glob("crashes/*.txt"))
        assert len(kept) == readable
        if kept:
            assert str(kept[0]).encode() in said.replace(b"\r\n", b"")
            assert "Traceback (most recent call last)" in kept[0].read_text()
            assert "raise KeyError" in kept[0].read_text() or "in broken" in kept[0].read_text()

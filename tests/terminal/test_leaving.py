"""Whoever leaves while a sweep is being started is told of it, and nothing is lost."""

import os
import signal
from pathlib import Path

import pytest

from tests.terminal.homes import home as home
from tests.terminal.homes import stored
from tests.terminal.terminals import Terminal

ENDLESS = (
    *("--set", "grid.batch_size=[16]", "--set", "seeds=1", "--set", "train.epochs=1000000"),
    *("--set", "memory.micro_batch_size=16", "--set", "run.stack='never'"),
)


def told(terminal: Terminal, home: Path) -> None:
    """Check that the sweep which was started runs, and that its name was said."""
    (sweep,) = stored(home)
    assert sweep["state"] == "running"
    assert f"batchscope attach {sweep['id']}".encode() in terminal.bytes
    assert b"Traceback" not in terminal.bytes


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_a_board_that_is_left_while_it_starts(home: Path, key: str) -> None:
    with Terminal("--preset", "quickstart", *ENDLESS, "--home", str(home)) as terminal:
        terminal.wait_for("leave")  # the keys are drawn before the conductor answers
        terminal.press(key)
        assert terminal.wait_for_exit() == 0
        told(terminal, home)


def test_a_launch_from_the_menu_that_is_left_at_once(home: Path) -> None:
    with Terminal("--home", str(home)) as terminal:
        terminal.wait_for("quickstart", "launch")
        terminal.press("\r")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        told(terminal, home)


def test_a_signal_while_a_board_starts(home: Path) -> None:
    with Terminal("--preset", "quickstart", *ENDLESS, "--home", str(home)) as terminal:
        terminal.wait_for("leave")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait_for_exit() == 128 + signal.SIGTERM
        name = stored(home)[0]["id"]
        assert f"batchscope attach {name}".encode() in terminal.bytes

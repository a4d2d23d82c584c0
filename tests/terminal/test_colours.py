"""The colours that a real terminal receives."""

import re
from pathlib import Path

import pytest

from tests.functional.board_fixtures import finished_sweep
from tests.terminal.terminals import Terminal

SGR = re.compile(rb"\x1b\[([0-9;:]*)m")
COLOURS = {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108), 58}
BOLD, DIM, REVERSE = 1, 2, 7


def parameters(sent: bytes) -> set[int]:
    """Every parameter of how text looks, among all that was sent."""
    found = (part for each in SGR.findall(sent) for part in re.split(rb"[;:]", each))
    return {int(part) for part in found if part.isdigit()}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A home that holds a finished sweep."""
    return finished_sweep(tmp_path / "home").parent.parent


def walk(terminal: Terminal) -> None:
    """Through every pane, help, palette and menu, and out."""
    terminal.wait_for("What changes")
    terminal.press("234567")
    terminal.wait_for("newest at the bottom")
    terminal.press("T")
    terminal.wait_until_gone(" pane  ")
    terminal.press("?")
    terminal.wait_for("arrows scroll")
    terminal.press("x\x10")
    terminal.wait_for("Search for commands", "All panes")
    terminal.press("\x1b")
    terminal.wait_until_gone("Search for commands")
    terminal.press_until("m", "quickstart", "1 stored sweep")
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_no_color_sends_none(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), NO_COLOR="1", COLORTERM="truecolor") as terminal:
        walk(terminal)
        found = parameters(terminal.bytes)
        assert found & COLOURS == set()
        assert {BOLD, DIM, REVERSE} <= found


def test_an_empty_no_color_asks_for_nothing(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), NO_COLOR="") as terminal:
        walk(terminal)
        assert 38 in parameters(terminal.bytes)


def test_a_theme_is_worn_from_the_first_frame(stored: Path) -> None:
    with Terminal(
        "attach", "--home", str(stored), "--theme", "light", COLORTERM="truecolor"
    ) as terminal:
        walk(terminal)
        assert b"48;2;251;250;246" in terminal.bytes


def test_a_theme_that_does_not_exist_is_met_with_the_nearest(stored: Path) -> None:
    with Terminal("attach", "--home", str(stored), "--theme", "drak") as terminal:
        assert terminal.wait_for_exit() == 2
        assert terminal.bytes.startswith(
            b"batchscope: argument --theme: no theme 'drak'; did you mean 'dark'?"
        )

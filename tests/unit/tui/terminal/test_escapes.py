"""The sequences for clipboard and title, byte by byte."""

import base64

import pytest

from batchscope.tui.terminal.escapes import CLIPBOARD_MOST, clipboard, has_title, title


def test_the_clipboard_is_osc_52() -> None:
    sequence = clipboard("a\tb ±", {})
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\x07")
    assert base64.b64decode(sequence[7:-1]).decode() == "a\tb ±"


def test_tmux_is_told_and_passes_on() -> None:
    plain = clipboard("x", {})
    sequence = clipboard("x", {"TMUX": "/tmp/tmux,1,0"})
    assert sequence == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"


def test_what_terminals_refuse_is_not_sent() -> None:
    assert clipboard("x" * (CLIPBOARD_MOST * 3 // 4 - 3), {})
    assert clipboard("x" * CLIPBOARD_MOST, {}) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quickstart 1/2 running", "quickstart 1/2 running"),
        ("a\x07\x1b]52;c;eA==\x07b", "a��]52;c;eA==�b"),
        ("a\x9cb\u202ec\n", "a�b�c�"),
        ("日" * 60, "日" * 40),
    ],
)
def test_a_title_holds_nothing_that_steers(text: str, expected: str) -> None:
    if "日" in text:
        text = text * 2
    assert title(text) == f"\x1b]2;{expected}\x07"


def test_some_terminals_have_no_title() -> None:
    assert has_title({"TERM": "xterm-256color"})
    for name in ("dumb", "linux", ""):
        assert not has_title({"TERM": name})
    assert not has_title({})

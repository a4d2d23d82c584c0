"""A size of the screen from the environment is taken only if such a screen can be drawn."""

import pytest

from batchscope.tui.start import drop_absurd_size


@pytest.mark.parametrize(
    "value", ["99999999999", "100000", "2001", "00002001", "9" * 5000, " 9999 "]
)
def test_an_absurd_size_is_dropped(value: str) -> None:
    environ = {"COLUMNS": value, "LINES": value, "TERM": value}
    drop_absurd_size(environ)
    assert environ == {"TERM": value}


@pytest.mark.parametrize("value", ["", "0", "1", "80", "1000", "-1", "x", "0080"])
def test_any_other_size_is_left(value: str) -> None:
    environ = {"COLUMNS": value, "LINES": value}
    drop_absurd_size(environ)
    assert environ == {"COLUMNS": value, "LINES": value}
    drop_absurd_size({})

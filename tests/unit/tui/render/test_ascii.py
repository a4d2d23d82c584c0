"""Text in ASCII: as wide as before, and nothing unknown."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from batchscope.tui.panes.log import SIGNS as LOG_SIGNS
from batchscope.tui.panes.trials.pane import STATUS
from batchscope.tui.render.arrows import HEADS
from batchscope.tui.render.ascii import json_text, plain, prepare, wants_ascii
from batchscope.tui.render.block_bars import EIGHTHS, LEVELS, gauge
from batchscope.tui.render.braille import BRAILLE
from batchscope.tui.viewmodel.marks import GLYPHS
from batchscope.tui.viewmodel.status_signs import MARKS, SIGNS


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Mn", "Me", "Mc"])))
def test_it_is_ascii_and_as_wide(text: str) -> None:
    found = plain(text)
    assert found.isascii()
    assert len(found) == sum(cell_len(character) for character in text)


def test_what_the_screen_draws_with_is_known() -> None:
    drawn = (
        *GLYPHS, *EIGHTHS, *LEVELS, *HEADS, *"".join(gauge(0.3, 9)), *"╭╮╰╯│─┤┬└╵░▒…±×÷−–μκσ²°",
        *(sign for sign, _ in [*SIGNS.values(), *STATUS.values(), *LOG_SIGNS.values()]),
        *(sign for sign, _ in MARKS.values()),
    )  # fmt: skip
    assert [each for each in drawn if plain(each) == "?" != each] == []


def test_dots_keep_their_height() -> None:
    assert plain(chr(BRAILLE)) == " "
    assert plain("⠉⠒⠤⣀⣿⢸") == "'--.::"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.9512 ±.0071", "0.9512 ~.0071"),
        ("1024 = 4 × 256 → ÷2.5", "1024 = 4 x 256 > /2.5"),
        ("Größe é", "Gro?e e"),
        ("日本", "????"),
        ("plain", "plain"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "de_DE.utf8"}, False),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "POSIX"}, True),
        ({"LC_CTYPE": "de_DE.ISO-8859-1@euro", "LANG": "C.UTF-8"}, True),
    ],
)
def test_the_locale_decides_by_default(environment: dict[str, str], ascii_only: bool) -> None:
    assert wants_ascii(None, environment) is ascii_only
    assert wants_ascii(True, environment)
    assert not wants_ascii(False, environment)


def test_streams_say_what_they_cannot_in_ascii() -> None:
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="latin-1")
    prepare([stream, None], ascii_only=False)
    print("± ● é", file=stream, flush=True)
    prepare([stream], ascii_only=True)
    print("± ● é", file=stream, flush=True)
    assert held.getvalue() == b"\xb1 o \xe9\n~ o e\n"


def test_json_is_escaped_and_not_altered() -> None:
    for encoding in ("ascii", "utf-8"):
        held = io.BytesIO()
        stream = io.TextIOWrapper(held, encoding=encoding)
        prepare([stream], ascii_only=False)
        print(json_text({"title": "é ± 日"}, stream), file=stream, flush=True)
        assert json.loads(held.getvalue()) == {"title": "é ± 日"}

"""The top line of a pane: what is hidden is said however long the caption is."""

import pytest

from batchscope.tui.render.frame import framed
from batchscope.tui.render.styled_text import EMPTY, row, text_of, width_of

CAPTION = row("this sweep █  others ▒  free ·  headroom ░")
MORE = row(("↑ 9  ↓ 23 more", "warn"))


@pytest.mark.parametrize("width", range(34, 90))
def test_a_caption_gives_way_to_what_is_hidden(width: int) -> None:
    top = framed("memory", CAPTION, [], (width, 3), False, "8 settings", MORE)[0]
    assert "↑ 9  ↓ 23 more" in text_of(top)
    assert width_of(top) == width


def test_a_caption_is_whole_where_there_is_room_or_nothing_is_hidden() -> None:
    wide = text_of(framed("memory", CAPTION, [], (90, 3), False, "", MORE)[0])
    assert "headroom ░  ↑ 9" in wide
    alone = text_of(framed("memory", CAPTION, [], (60, 3), False)[0])
    assert "headroom ░" in alone
    bare = text_of(framed("memory", EMPTY, [], (60, 3), False)[0])
    assert bare == "╭ memory " + "─" * 50 + "╮"

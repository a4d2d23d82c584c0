"""The gauge of a device: every part in its share of the row, and never more than the row."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchscope.engine.journal.events import MemorySampled
from batchscope.tui.panes.memory import _gauge
from batchscope.tui.render.styled_text import text_of

GIB = 1 << 30


def sample(
    ours: int, others: int, limit: int | None = None, device: str = "cuda:0"
) -> MemorySampled:
    return MemorySampled(
        device=device, name="a card", total=10 * GIB, ours=ours, others=others, limit=limit
    )


@pytest.mark.parametrize(
    ("ours", "others", "limit", "device", "expected"),
    [
        (4, 2, None, "cuda:0", "████▒▒···░"),  # a tenth of the 8 that others leave
        (0, 0, None, "cuda:0", "·········░"),
        (1, 0, 5, "cuda:0", "█····" + " " * 5),  # a twentieth of the row rounds to nothing
        (2, 0, 5, "cpu", "██·······░"),  # there a limit counts tensors, not what processes hold
        (9, 1, None, "cuda:0", "█████████▒"),
        (10, 0, None, "cuda:0", "██████████"),
    ],
)
def test_parts(ours: int, others: int, limit: int | None, device: str, expected: str) -> None:
    bound = None if limit is None else limit * GIB
    assert text_of(_gauge(sample(ours * GIB, others * GIB, bound, device), 10)) == expected


def test_headroom_below_a_limit() -> None:
    shown = text_of(_gauge(sample(0, 0, 5 * GIB), 40))
    assert shown == "·" * 18 + "░" * 2 + " " * 20


@example(0, 12_364_299_788, None, 37)
@given(
    st.integers(0, 12 * GIB), st.integers(0, 12 * GIB), st.none() | st.integers(0, 12 * GIB),
    st.integers(8, 150),
)  # fmt: skip
def test_it_fills_its_room_whatever_is_held(
    ours: int, others: int, limit: int | None, room: int
) -> None:
    assert len(text_of(_gauge(sample(ours, others, limit), room))) == room

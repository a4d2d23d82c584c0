"""Where the cursor of the curves can stand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.tui.panes.curves.cursor import place_text, stepped
from batchscope.tui.render.axis import Axis, axis_over
from batchscope.tui.viewmodel.quantities import AXLES


def test_stops_are_the_last_points_of_their_columns() -> None:
    """Ten columns over 0 to 9.5: two points in most of them."""
    xs, x = np.array([0.0, 0.4, 1.0, 1.5, 7.0, 7.5, 9.5]), Axis(0.0, 9.5)
    walked: list[float | None] = [None]
    while len(walked) == 1 or walked[-1] is not None:
        walked.append(stepped(xs, x, 10, walked[-1], 1))
    assert walked == [None, 0.4, 1.5, 7.5, 9.5, None]
    back: list[float | None] = [None]
    while len(back) == 1 or back[-1] is not None:
        back.append(stepped(xs, x, 10, back[-1], -1))
    assert back == walked[::-1]
    assert stepped(xs, x, 10, 0.4, 10) == 9.5
    assert stepped(xs, x, 10, 7.5, -2) == 0.4
    assert stepped(xs, x, 10, 5.0, -1) == 1.5
    assert stepped(np.array([]), x, 10, None, 1) is None


numbers = st.floats(0.001, 1e6)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30), st.booleans(), st.integers(4, 60))
def test_every_step_of_the_cursor_is_seen(found: list[float], log: bool, columns: int) -> None:
    xs, x = np.unique(found), axis_over(found, log)
    columns_seen: list[int] = []
    at = stepped(xs, x, columns, None, 1)
    while at is not None:
        assert at in xs
        place = x.place(at, columns * 2)
        assert place is not None
        columns_seen.append(place // 2)
        at = stepped(xs, x, columns, at, 1)
    assert columns_seen == sorted(set(columns_seen))
    assert set(columns_seen) == {(x.place(each, columns * 2) or 0) // 2 for each in found}


def test_a_position_is_shown_with_its_unit() -> None:
    said = [
        place_text(x, axle) for x, axle in zip((12.0, 3600.0, 12.5, 7.25, 2.0), AXLES, strict=True)
    ]
    assert said == ["12 epochs", "3,600 steps", "12.5 samples", "7.25 s", "distance 2.00"]

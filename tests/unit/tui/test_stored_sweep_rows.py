"""A stored sweep in the menu: its results are in its line where there is room, and its preview."""

import pytest

from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.tui.render.styled_text import width_of
from batchscope.tui.screens.menu_entries import sweep_item
from batchscope.tui.screens.menu_previews import sweep_preview

RESULT = "test mae 0.561 to 0.606"


def stored(metric: str = "test_mae", best: float | None = 0.561) -> StoredSweep:
    return StoredSweep(
        id="20270115-080000-mine",
        preset="mine",
        state="finished",
        trials=9,
        finished=9,
        seconds=85.0,
        title="Mine",
        folder="/home/mine",
        metric=metric,
        best=best,
        worst=0.606 if best is not None else None,
    )


@pytest.mark.parametrize(("width", "has_room"), [(77, False), (95, False), (105, True)])
def test_the_line_has_the_results_where_there_is_room(width: int, has_room: bool) -> None:
    line = sweep_item(stored(), width).line
    assert ("mae 0.561–0.606" in "".join(text for text, _ in line)) is has_room
    assert width_of(line) <= width


def test_the_preview_has_them_and_nothing_where_they_are_not_known() -> None:
    def told(sweep: StoredSweep) -> str:
        return "\n".join("".join(text for text, _ in line) for line in sweep_preview(sweep, 60))

    assert f"results   {RESULT}" in told(stored())
    assert "results" not in told(stored("", None))

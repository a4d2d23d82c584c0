"""What a pane says while there is nothing to draw: what is awaited, and how far it is."""

from batchscope.engine.errors import printable
from batchscope.engine.formatting import shown_size
from batchscope.tui.render.block_bars import gauge
from batchscope.tui.render.styled_text import Row, centred, row, wrap
from batchscope.tui.viewmodel.view import View

GAUGE = 24


def awaited(view: View, what: str, width: int, height: int) -> list[Row]:
    """The middle of an empty pane."""
    lines = wrap(what, max(1, width - 2), "dim")
    if view.phase == "starting":
        lines = [row(("starting…", "dim"))]
    elif view.phase == "preparing":
        lines = [*(fetching(view) or [row(("the workers are starting", "dim"))]), *lines]
    return centred(lines, width, height)


def fetching(view: View) -> list[Row]:
    """How far the download of the data is; empty where none is under way."""
    data = view.state.fetching
    if data is None:
        return []
    name = printable(data.name)
    if data.total <= 0:
        return [row(f"fetching {name}: {shown_size(data.received)}")]
    share = data.received / data.total
    done, rest = gauge(share, GAUGE)
    amount = f"{shown_size(data.received)} of {shown_size(data.total)}"
    return [row(f"fetching {name}  ", (done, "accent"), (rest, "track"), f" {amount}")]

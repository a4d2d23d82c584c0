"""What a pane shows while it has nothing to draw: why, and the progress of a download."""

from batchscope.engine.errors import printable
from batchscope.engine.formatting import shown_size
from batchscope.tui.render.block_bars import gauge
from batchscope.tui.render.styled_text import Row, centred, row, wrap
from batchscope.tui.viewmodel.activity import activity
from batchscope.tui.viewmodel.view import View

GAUGE = 24


def awaited(view: View, what: str, width: int, height: int) -> list[Row]:
    """Return rows for an empty pane, with a text in the middle."""
    lines = wrap(what, max(1, width - 2), "dim")
    if view.phase == "starting":
        lines = [row(("Starting…", "dim"))]
    elif view.phase in ("preparing", "running"):
        doing = activity(view.state)
        at_work = wrap(f"{doing}…", max(1, width - 2)) if doing else []
        lines = [*(fetching(view) or at_work), *lines]
    elif view.nothing:
        lines = wrap(view.nothing.text, max(1, width - 2))
    return centred(lines, width, height)


def fetching(view: View) -> list[Row]:
    """Return the progress of the data's download; empty if none is running."""
    data = view.state.fetching
    if data is None:
        return []
    name = printable(data.name)
    if data.total <= 0:
        return [row(f"Downloading {name}: {shown_size(data.received)}")]
    share = data.received / data.total
    done, rest = gauge(share, GAUGE)
    amount = f"{shown_size(data.received)} of {shown_size(data.total)}"
    return [row(f"Downloading {name}  ", (done, "accent"), (rest, "track"), f" {amount}")]

"""Loads the class of a pane by its entry in `tui.config.panes`."""

from importlib import import_module

from batchscope.tui.config.panes import PaneEntry
from batchscope.tui.panes.base import Pane
from batchscope.tui.viewmodel.view import View


def new_pane(entry: PaneEntry, view: View) -> Pane:
    """Return a new pane that draws a view.

    Raises:
        TypeError: the entry names something that is not the pane of this name.
    """
    module, _, name = entry.source.partition(":")
    pane = getattr(import_module(module), name)(view)
    if not isinstance(pane, Pane) or entry.name != pane.NAME:
        raise TypeError(f"{entry.source} is not a pane with the name {entry.name!r}")
    return pane

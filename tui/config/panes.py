"""The panes of the board, one entry each: the only place that lists them.

Names, digits, tabs, key bindings, hints, help, command palette and layout follow from this list.
It lives here, below the panes, because the key bindings and the settings file need it too.

A new pane is one file in `tui/panes/` with a subclass of `tui.panes.base.Pane`, and one entry at
the end of `PANES`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from batchscope.tui.config.command import Command, pane_key

Tile = Literal["top", "lower left", "lower right", "right 1", "right 2", "right 3", "right 4"]
"""The parts of the board where all panes are shown: a column with the curves above two tiles side
by side, and a column of four (`tui.panes.tiling` decides their sizes)."""


@dataclass(frozen=True, slots=True)
class PaneEntry:
    """What the rest of the program needs to know about a pane before its file is loaded.

    Attributes:
        name: the pane's `NAME`, also its name in the tabs and in the settings file.
        source: module and class, as `module:Class`.
        tile: where the pane is while all are shown. Panes may share a tile: it shows the one that
            is listed first, and another one while that is the current pane.
        title: what the command palette calls the pane; its name by default.
        commands: its own keys, in the order of the hints and the help. The action
            `turn('NAME', 'WHAT', STEP)` calls the pane's method `turn(WHAT, STEP)`.
    """

    name: str
    source: str
    tile: Tile
    title: str = ""
    commands: tuple[Command, ...] = ()


PANES = (
    PaneEntry(
        "curves",
        "batchscope.tui.panes.curves.pane:CurvesPane",
        "top",
        commands=(
            pane_key(
                "y", "y", "Curves: choose the metric", "metric",
                "Choose the metric from a list; typing searches it by name",
                "figures('curves')", id="curves-figures",
            ),
            pane_key(
                "Y", "Y", "Curves: next metric", "", "Next metric; alt+y goes to the previous one",
                "turn('curves', 'figure', 1)", id="curves-next-figure",
            ),
            pane_key(
                "alt+y", "", "Curves: previous metric", "", "Previous metric",
                "turn('curves', 'figure', -1)", id="curves-previous-figure",
            ),
            pane_key(
                "space", "space", "Hide the configuration", "hide",
                "Hide or show, in all panes, the configuration that ↑ ↓ select in the legend, or "
                "that of the selected trial; a click in the legend does the same",
                "hide", late=True, id="hide-configuration",
            ),
            pane_key(
                "i", "i", "Isolate the configuration", "isolate",
                "Show the selected configuration alone in all panes; again: all. A double click in "
                "the legend does the same",
                "isolate", late=True, id="isolate-configuration",
            ),
            pane_key(
                "x", "x", "Curves: x axis", "axis",
                "Next x axis: epochs, steps, samples, seconds, distance",
                "turn('curves', 'over', 1)",
            ),
            pane_key(
                "l", "l", "Curves: axes", "log",
                "Next scale: linear, log x, log y (of the error)",
                "turn('curves', 'scale', 1)",
            ),
            pane_key(
                "t", "t", "Curves: train and spread", "train",
                "Show or hide train curves and bands of ±1 standard deviation",
                "turn('curves', 'beside', 1)",
            ),
            pane_key(
                "v", "v", "Curves: candidates", "",
                "Show all candidates of [select], or only the chosen ones",
                "turn('curves', 'rivals', 1)",
            ),
            pane_key(
                "s", "s", "Curves: smooth", "smooth",
                "Smooth more (moving average); after the strongest, not at all",
                "turn('curves', 'smooth', 1)", late=True,
            ),
            pane_key(
                "left", "← →", "Curves: cursor to the left", "cursor",
                "Move a cursor to read values; shift moves faster, esc removes it",
                "turn('curves', 'cursor', -1)", late=True,
            ),
            pane_key(
                "right", "", "Curves: cursor to the right", "", "Move the cursor to the right",
                "turn('curves', 'cursor', 1)",
            ),
            pane_key(
                "shift+left", "", "Curves: cursor far left", "", "Move the cursor by ten points",
                "turn('curves', 'cursor', -10)",
            ),
            pane_key(
                "shift+right", "", "Curves: cursor far right", "", "Move the cursor by ten points",
                "turn('curves', 'cursor', 10)",
            ),
            pane_key(
                "plus,equals_sign", "+ - 0", "Curves: zoom in", "zoom",
                "Zoom in at the cursor or the latest epoch, zoom out, show all",
                "turn('curves', 'zoom', 1)", late=True,
            ),
            pane_key(
                "minus", "", "Curves: zoom out", "", "Show twice as much of the x axis",
                "turn('curves', 'zoom', -1)",
            ),
            pane_key(
                "0", "", "Curves: the whole x axis", "", "Show the whole x axis",
                "turn('curves', 'zoom', 0)",
            ),
            pane_key(
                "o", "o", "Curves: overlay", "overlay", "Overlay the curves of other stored sweeps",
                "overlay", late=True,
            ),
        ),
    ),
    PaneEntry(
        "bars",
        "batchscope.tui.panes.bars.pane:BarsPane",
        "lower left",
        commands=(
            pane_key(
                "b", "b", "Bars: choose the metric", "metric",
                "Choose the metric from a list, one bar per configuration; typing searches it",
                "figures('bars')", id="bars-figures",
            ),
            pane_key(
                "B", "B", "Bars: next metric", "", "Next metric; alt+b goes to the previous one",
                "turn('bars', 'figure', 1)", id="bars-next-figure",
            ),
            pane_key(
                "alt+b", "", "Bars: previous metric", "", "Previous metric",
                "turn('bars', 'figure', -1)", id="bars-previous-figure",
            ),
        ),
    ),
    PaneEntry("memory", "batchscope.tui.panes.memory:MemoryPane", "right 2"),
    PaneEntry(
        "gradients",
        "batchscope.tui.panes.gradients.pane:GradientsPane",
        "right 1",
        title="gradient norm",
        commands=(
            pane_key(
                "g", "g G", "Gradients: next view", "view",
                "Next or previous view: norms of all steps; at a probe norms, values, competition",
                "turn('gradients', 'source', 1)",
            ),
            pane_key(
                "G", "", "Gradients: previous view", "", "Previous view",
                "turn('gradients', 'source', -1)",
            ),
            pane_key(
                "f", "f", "Gradients: early and late", "share",
                "Set how much of the training counts as early and as late",
                "turn('gradients', 'share', 1)",
            ),
            pane_key(
                "n", "n", "Gradients: normalize", "normalize",
                "Scale all norms to the same mean, or show them as measured",
                "turn('gradients', 'normalize', 1)",
            ),
            pane_key(
                "right_square_bracket", "[ ]", "Gradients: later moment", "moment",
                "Earlier or later moment of the probe",
                "turn('gradients', 'moment', 1)",
            ),
            pane_key(
                "left_square_bracket", "", "Gradients: earlier moment", "",
                "Earlier moment of the probe",
                "turn('gradients', 'moment', -1)",
            ),
        ),
    ),
    PaneEntry(
        "trials",
        "batchscope.tui.panes.trials.pane:TrialsPane",
        "lower right",
        commands=(
            pane_key(
                "X", "X", "Skip the selected trial", "skip",
                "Skip the selected trial, after asking", "skip", id="skip-the-chosen-trial",
            ),
            pane_key(
                "R", "R", "Run the selected trial again", "run again",
                "Run the selected trial again if it failed, was stopped or was skipped", "retry",
                id="retry-the-chosen-trial",
            ),
        ),
    ),
    PaneEntry(
        "findings",
        "batchscope.tui.panes.findings:FindingsPane",
        "right 3",
        commands=(
            pane_key(
                "d", "d", "Findings: values by seed", "seeds",
                "Show or hide the values of each seed behind the claims",
                "turn('findings', 'seeds', 1)",
            ),
        ),
    ),
    PaneEntry("log", "batchscope.tui.panes.log:LogPane", "right 4"),
    PaneEntry("settings", "batchscope.tui.panes.settings:SettingsPane", "lower right"),
)  # fmt: skip

PANE_KEYS = {entry.name: str(number) for number, entry in enumerate(PANES, start=1)}
"""The digit that shows each pane: its place in the list."""
SHOWN_PANE_KEYS = f"1-{len(PANES)}"
PANE_COMMANDS = tuple(
    replace(each, pane=entry.name, group=f"Pane {PANE_KEYS[entry.name]}: {entry.name}")
    for entry in PANES
    for each in entry.commands
)
"""The keys of all panes, each with its pane and its heading in the help."""
TILES = {
    tile: tuple(entry.name for entry in PANES if entry.tile == tile)
    for tile in dict.fromkeys(entry.tile for entry in PANES)
}
"""The panes in each tile."""

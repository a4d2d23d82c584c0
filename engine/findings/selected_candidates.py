"""Decides which configurations a claim compares if `[select]` chooses among candidates.

A claim compares the chosen candidate of each group. Only a selector that names a selected key, or
a candidate by its own label, reaches the candidates that were not chosen.
"""

from collections.abc import Sequence
from typing import NamedTuple

from batchscope.engine.analysis.tuning import TuningChoice, choices
from batchscope.engine.experiment.selectors import LABEL, picked
from batchscope.engine.findings.comparison_sides import listed
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration, Selector


class Looked(NamedTuple):
    """The configurations that a selector matches, after `[select]` has chosen among them.

    Attributes:
        configurations: those to compare.
        asked: all that the selector matches, candidates that were not chosen included.
        lack: why a group has no chosen candidate; empty if every group has one.
        open: whether trials that may still decide such a group have not ended.
    """

    configurations: tuple[Configuration, ...]
    asked: tuple[Configuration, ...]
    lack: str = ""
    open: bool = False


def selected_keys(state: SweepState) -> tuple[str, ...]:
    """Return the dotted keys that `[select]` chooses; none without `[select]`."""
    selection = state.opened.selection if state.opened else None
    return selection.keys if selection else ()


def looked_at(state: SweepState, selector: Selector | None = None) -> Looked:
    """Return the chosen configurations that a selector matches; all without a selector."""
    everything = tuple(state.configurations.values())
    asked = everything if selector is None else picked(selector, everything)
    if selector is not None and _explicit(state, selector, asked):
        return Looked(asked, asked)
    groups = {each.rivals for each in asked if each.rivals}
    settled = [choice for choice in choices(state) if choice.group in groups]
    best = {choice.chosen for choice in settled}
    lacking = [choice for choice in settled if choice.chosen is None]
    return Looked(
        tuple(each for each in asked if not each.rivals or each.id in best),
        asked,
        listed([_lack(choice) for choice in lacking]),
        any(choice.open for choice in lacking),
    )


def _explicit(state: SweepState, selector: Selector, asked: Sequence[Configuration]) -> bool:
    label = selector.get(LABEL)
    own = any(each.rivals and each.label == label for each in asked)
    return own or any(key in selector for key in selected_keys(state))


def _lack(choice: TuningChoice) -> str:
    keys = " and ".join(key.split(".", 1)[1] for key in choice.candidates[0].settings)
    if choice.open:
        return f"{choice.group}: {keys} is not chosen yet"
    return f"{choice.group}: no candidate for {keys} can be chosen"

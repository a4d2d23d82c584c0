"""Decides which configurations a claim compares if `[select]` chooses among candidates.

A claim compares the chosen candidate of each group: its fresh seeds with `select.seeds_after`, else
the seeds that chose it. Only a selector that names a selected key, or a candidate by its own label,
reaches the candidates, on the seeds of the choice.
"""

from collections.abc import Sequence
from typing import NamedTuple

from batchscope.engine.analysis.tuning import (
    TuningChoice,
    choices,
    chosen_configurations,
    in_order,
    same_seeds,
)
from batchscope.engine.experiment.selectors import LABEL, picked
from batchscope.engine.findings.comparison_sides import listed
from batchscope.engine.findings.selection_text import SAME_SEEDS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration, Selector


class Looked(NamedTuple):
    """The configurations that a selector matches, after `[select]` has chosen among them.

    Attributes:
        configurations: those to compare.
        asked: all that the selector matches, candidates that were not chosen included, but no
            configurations with fresh seeds.
        lack: why a group has none to compare; empty if every group has one.
        open: whether trials that may still decide such a group have not ended.
        caution: that a choice is judged on the seeds it was made with; empty if none is.
    """

    configurations: tuple[Configuration, ...]
    asked: tuple[Configuration, ...]
    lack: str = ""
    open: bool = False
    caution: str = ""


def selected_keys(state: SweepState) -> tuple[str, ...]:
    """Return the dotted keys that `[select]` chooses; none without `[select]`."""
    selection = state.opened.selection if state.opened else None
    return selection.keys if selection else ()


def looked_at(state: SweepState, selector: Selector | None = None) -> Looked:
    """Return the judged configurations that a selector matches; all without a selector."""
    candidates = [each for each in in_order(state) if not each.confirms]
    asked = tuple(candidates) if selector is None else picked(selector, candidates)
    if selector is not None and _explicit(state, selector, asked):
        return Looked(asked, asked)
    groups = {each.rivals for each in asked if each.rivals}
    settled = [choice for choice in choices(state) if choice.group in groups]
    named = {choice.judged for choice in settled} | {each.id for each in asked}
    lacking = [choice for choice in settled if choice.judged is None]
    return Looked(
        tuple(each for each in chosen_configurations(state) if each.id in named),
        asked,
        listed([_lack(choice) for choice in lacking]),
        any(choice.open or choice.fresh_open for choice in lacking),
        SAME_SEEDS if any(same_seeds(choice) for choice in settled) else "",
    )


def _explicit(state: SweepState, selector: Selector, asked: Sequence[Configuration]) -> bool:
    label = selector.get(LABEL)
    own = any(each.rivals and each.label == label for each in asked)
    return own or any(key in selector for key in selected_keys(state))


def _lack(choice: TuningChoice) -> str:
    keys = " and ".join(key.split(".", 1)[1] for key in choice.candidates[0].settings)
    if choice.open:
        return f"{choice.group}: {keys} is not chosen yet"
    if choice.chosen is not None:
        return f"{choice.group}: the fresh seeds of the chosen {keys} are not trained yet"
    return f"{choice.group}: no candidate for {keys} can be chosen"

"""What was trained, as a report says it: the settings that all share, and those that vary."""

from typing import Any

from batchscope.engine.analysis.matching import PHASES, Values, values_of
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.journal.sweep_state import SweepState

MOST_VALUES = 12
"""More values of one setting would hide the others."""
ASKED_BY = {"probe.": "probe.at", "sharpness.": "sharpness.epsilon"}
"""Settings that nothing reads unless another is given."""
TARGETS = ("train.target_accuracy", "train.target_loss")


def experiment(state: SweepState) -> list[tuple[str, str]]:
    """Each setting by its key in the preset, first those that vary; empty before it was opened.

    Defaults are in place, and what this training never reads is left out, as is what was not given.
    """
    every = [values_of(each) for each in state.configurations.values()]
    varied, common = [], []
    for key in every[0] if every else ():
        known = _distinct([each[key] for each in every if _read(key, each)])
        if len(known) > 1:
            varied.append((key, _varied(known)))
        elif known and _given(key, known[0]):
            common.append((key, _shown(known[0])))
    return [*varied, *common]


def _distinct(values: list[Any]) -> list[Any]:
    """In the order in which they come first."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct


def _varied(values: list[Any]) -> str:
    shown = [_shown(value) for value in values]
    more = len(shown) - MOST_VALUES
    return f"varied: {', '.join(shown[:MOST_VALUES])}" + (f" and {more:,} more" if more > 0 else "")


def _shown(value: Any) -> str:
    """As the preset has it; phases without the keys that they leave out."""
    if value is None:
        return "not given"
    if isinstance(value, (list, tuple)) and any(isinstance(each, dict) for each in value):
        value = [{key: one for key, one in each.items() if one is not None} for each in value]
    return literal(value)


def _given(key: str, value: Any) -> bool:
    """Whether it says something; no hidden layer does."""
    return value is not None and (value not in ([], ()) or key == "model.hidden")


def _read(key: str, values: Values) -> bool:
    if key == "train.target_checks":
        return any(values[target] is not None for target in TARGETS)
    if key == PHASES:
        return True
    if key == "model.width":
        return False  # in the channels already
    return all(values[of] for start, of in ASKED_BY.items() if key.startswith(start))

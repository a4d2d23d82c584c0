"""Lists the settings of a sweep for a report: those that vary, and those that all share."""

from itertools import chain
from typing import Any

from batchscope.engine.analysis.matching import PHASES, Values, values_of
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.schedule.target import KEYS

MOST_VALUES = 12
"""The most values of one setting that are listed."""
NEEDED_BY = {"probe.": "probe.at", "sharpness.": "sharpness.epsilon"}
"""Settings by prefix, with the setting without which they have no effect."""


def experiment(state: SweepState) -> list[tuple[str, str]]:
    """Return each setting by its key in the preset, first those that vary.

    Defaults are included. Settings without an effect on this sweep and empty ones are left out.
    """
    every = [values_of(each) for each in state.configurations.values()]
    varied, common = [], []
    for key in dict.fromkeys(chain(*every)):
        known = _distinct([each.get(key) for each in every if _read(key, each)])
        if len(known) > 1:
            varied.append((key, _varied(known)))
        elif known and _given(key, known[0]):
            common.append((key, _shown(known[0])))
    return [*varied, *common]


def _distinct(values: list[Any]) -> list[Any]:
    """Return the distinct values, in the order of their first occurrence."""
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
    """Format a value as in a preset; phases without the keys that they do not set."""
    if value is None:
        return "not set"
    if isinstance(value, (list, tuple)) and any(isinstance(each, dict) for each in value):
        value = [{key: one for key, one in each.items() if one is not None} for each in value]
    return literal(value)


def _given(key: str, value: Any) -> bool:
    """Return whether a setting has a value; an empty list of hidden layers counts as one."""
    return value is not None and (value not in ([], (), {}, "") or key == "model.hidden")


def _read(key: str, values: Values) -> bool:
    if key.startswith(("data.", "model.")) and values["task.use"] is not None:
        return False  # the task brings both
    if key == "train.target_checks":
        return any(values[target] is not None for target in KEYS)
    if key == PHASES:
        return True
    if key == "model.width":
        return False  # the channels already include it
    return all(values[of] for start, of in NEEDED_BY.items() if key.startswith(start))

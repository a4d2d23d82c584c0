"""Selects configurations by their settings, for claims, phases and comparisons."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from batchscope.engine.errors import UsageProblem, printable, shown, similar
from batchscope.engine.experiment.fields import check_value, flat, full_key, type_of
from batchscope.engine.spec import Configuration, Selector

LABEL = "label"
SHOWN_LABELS = 12


class Idle(UsageProblem):
    """A claim, phase or line refers to configurations that do not exist."""


class Ladder(NamedTuple):
    """Configurations that differ in only one setting, ordered by its value.

    Attributes:
        levels: the configurations at each value of the setting. There are several if there are
            several series, for example one for each learning rate of a grid.
        aside: the configurations left out, which differ in other settings or lack a level.
    """

    levels: dict[float, tuple[Configuration, ...]]
    aside: tuple[Configuration, ...]


def value_at(configuration: Configuration, path: str) -> Any:
    """Return the value of a dotted key in the form that TOML and JSON use."""
    table, key = path.split(".", 1)
    value = getattr(getattr(configuration.settings, table), key)
    return list(value) if isinstance(value, tuple) else value


def picked(selector: Selector, among: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """Return the configurations that have every value of a selector."""
    return tuple(configuration for configuration in among if _fits(configuration, selector))


def ladder(over: str, among: Sequence[Configuration], tuned: Sequence[str] = ()) -> Ladder:
    """Return the configurations that differ only in one setting.

    A series are configurations that agree in all other settings; the series with the most levels
    are used, so that a configuration outside the grid is not mistaken for an effect of `over`.

    Args:
        over: dotted key of the setting.
        among: the configurations.
        tuned: dotted keys that may differ too, because they were selected for each level.
    """
    series: dict[bytes, dict[float, Configuration]] = {}
    for configuration in among:
        level = value_at(configuration, over)
        series.setdefault(_all_but(configuration, over, *tuned), {})[level] = configuration
    longest = max(series.values(), key=len, default={})
    kept = [one for one in series.values() if one.keys() == longest.keys()]
    levels = {level: tuple(one[level] for one in kept) for level in sorted(longest)}
    used = {configuration.id for members in levels.values() for configuration in members}
    return Ladder(levels, tuple(each for each in among if each.id not in used))


def read_selector(written: object, configurations: Sequence[Configuration], where: str) -> Selector:
    """Read a table of a preset that selects configurations; return it with dotted keys.

    Raises:
        UsageProblem: it is malformed, or (`Idle`) matches no configuration.
    """
    if not isinstance(written, dict) or not written:
        raise UsageProblem(
            f"{where}: expected keys and values of configurations, for example "
            f"{{ batch_size = 64 }}, got {shown(written)}"
        )
    selector: Selector = {}
    for key, value in flat(written):
        at = f"{where}.{printable(key)}"
        path = LABEL if key == LABEL else full_key(key, where, also=(LABEL,))
        if path in selector:
            raise UsageProblem(f"{at}: {path} is given twice")
        check_value(value, str if path == LABEL else type_of(path), at)
        selector[path] = read_text(value, at) if path == LABEL else value
    if not picked(selector, configurations):
        raise Idle(f"{where}: no configuration has {_mismatch(selector, configurations)}")
    return selector


def read_text(value: str, where: str) -> str:
    """Return a string on one line without control characters; raise if it is empty."""
    text = printable(" ".join(value.split()))
    if not text:
        raise UsageProblem(f"{where}: expected a string, got an empty one")
    return text


def _mismatch(selector: Selector, configurations: Sequence[Configuration]) -> str:
    """Return the values that match nothing, with the nearest label or all labels."""
    asked = " and ".join(f"{path} = {shown(value)}" for path, value in selector.items())
    groups = dict.fromkeys(each.rivals for each in configurations if each.rivals)
    labels = [*groups, *(configuration.label for configuration in configurations)]
    close = similar(selector[LABEL], labels) if LABEL in selector else ""
    more = ", …" if len(labels) > SHOWN_LABELS else ""
    there = ", ".join(repr(label) for label in labels[:SHOWN_LABELS]) + more
    return f"{asked}{close or f'; the configurations are {there}'}"


def _fits(configuration: Configuration, selector: Selector) -> bool:
    """Return whether a configuration matches; a label may also be that of its rivals' group."""
    return all(
        wanted in (configuration.label, configuration.rivals)
        if path == LABEL
        else value_at(configuration, path) == wanted
        for path, wanted in selector.items()
    )


def _all_but(configuration: Configuration, *paths: str) -> bytes:
    tables = msgspec.to_builtins(configuration.settings)
    for path in paths:
        table, key = path.split(".", 1)
        tables[table].pop(key, None)
    return msgspec.json.encode(tables)

"""Pairs the configurations of two sweeps that are equal except for what changed between the sweeps.

A setting with one value throughout each sweep (another optimizer, another network) is the change
to look at, so it does not distinguish configurations. What distinguishes them is the batch size,
and every setting that varies within a sweep and has a value that occurs in both; settings that
`[select]` chose do not. Configurations that differ only in the learning rate and its scaling are
paired too, if each side has one of them.
"""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from batchscope.engine.experiment.grid import BATCH_SIZE, effective
from batchscope.engine.spec import TABLES, Configuration
from batchscope.engine.task_table import TaskTable

PHASES, TASK = "phases", "task"
RATE = ("train.lr", "scaling.rule", "scaling.base_batch_size", "scaling.max_lr")
Values = dict[str, Any]
Key = tuple[bytes, ...]


class Matched(NamedTuple):
    """Pairs in the order of the first sweep, and the configurations without a match.

    `keys` are the settings that distinguish pairs. `unclear` counts, by batch size, configurations
    of both sweeps that could match several.
    """

    pairs: list[tuple[Configuration, Configuration]]
    only_a: list[Configuration]
    only_b: list[Configuration]
    keys: tuple[str, ...]
    unclear: dict[int, tuple[int, int]]


class Differing(NamedTuple):
    """A setting and its values on the two sides."""

    key: str
    a: tuple[Any, ...]
    b: tuple[Any, ...]


def values_of(configuration: Configuration) -> Values:
    """Return every setting by its dotted key, with defaults and without those that are not used."""
    settings = effective(configuration.settings)
    tables = msgspec.to_builtins(settings)
    plain = [name for name in TABLES if name != TASK]
    values = {f"{name}.{key}": value for name in plain for key, value in tables[name].items()}
    return {**values, **_task_values(settings.task), PHASES: tables[PHASES]}


def _task_values(task: TaskTable | None) -> Values:
    """Return the settings of a task, each argument by its name as in `[grid]`."""
    if task is None:
        return {f"{TASK}.use": None, f"{TASK}.validation": None}
    arguments = {f"{TASK}.{name}": value for name, value in task.arguments}
    return {f"{TASK}.use": task.use, f"{TASK}.validation": task.validation, **arguments}


def match(
    a: Sequence[Configuration], b: Sequence[Configuration], chosen: Collection[str] = ()
) -> Matched:
    """Pair the configurations of two sweeps; `chosen` are the keys that `[select]` chose."""
    keys = (BATCH_SIZE, *_telling(a, b, {BATCH_SIZE, *chosen}))
    pairs = _paired(a, b, keys)
    loose = tuple(key for key in keys if key not in RATE)
    pairs += [pair for pair in _paired(a, b, loose) if pair not in pairs]
    only_a, only_b = _left(a, b, pairs)
    place = {each.id: at for at, each in enumerate(a)}
    pairs.sort(key=lambda pair: place[pair[0].id])
    return Matched(pairs, only_a, only_b, keys, _unclear(only_a, only_b, loose))


def differing(a: Sequence[Configuration], b: Sequence[Configuration]) -> list[Differing]:
    """Return the settings with different values in the two sweeps."""
    one, other = [values_of(each) for each in a], [values_of(each) for each in b]
    differences = []
    for key in _keys(one, other):
        left, right = _distinct(one, key), _distinct(other, key)
        if left.keys() != right.keys():
            differences.append(Differing(key, tuple(left.values()), tuple(right.values())))
    return differences


def _telling(
    a: Sequence[Configuration], b: Sequence[Configuration], without: Collection[str]
) -> list[str]:
    one, other = [values_of(each) for each in a], [values_of(each) for each in b]
    keys = []
    for key in _keys(one, other):
        left, right = _distinct(one, key), _distinct(other, key)
        varies = len(left) > 1 or len(right) > 1
        if key not in without and varies and left.keys() & right.keys():
            keys.append(key)
    return keys


def _keys(one: Sequence[Values], other: Sequence[Values]) -> list[str]:
    """Return the keys of both sides; none if one side is empty."""
    return list(dict.fromkeys(chain(*one, *other))) if one and other else []


def _distinct(among: Sequence[Values], key: str) -> dict[bytes, Any]:
    return {msgspec.json.encode(each.get(key)): each.get(key) for each in among}


def _paired(
    a: Sequence[Configuration], b: Sequence[Configuration], keys: Sequence[str]
) -> list[tuple[Configuration, Configuration]]:
    """Return the configurations with exactly one counterpart on the other side."""
    one, other = _grouped(a, keys), _grouped(b, keys)
    return [
        (one[key][0], other[key][0])
        for key in one
        if key in other and len(one[key]) == len(other[key]) == 1
    ]


def _grouped(among: Sequence[Configuration], keys: Sequence[str]) -> dict[Key, list[Configuration]]:
    groups: dict[Key, list[Configuration]] = {}
    for each in among:
        values = values_of(each)
        name = tuple(msgspec.json.encode(values.get(key)) for key in keys)
        groups.setdefault(name, []).append(each)
    return groups


def _left(
    a: Sequence[Configuration],
    b: Sequence[Configuration],
    pairs: Sequence[tuple[Configuration, Configuration]],
) -> tuple[list[Configuration], list[Configuration]]:
    taken_a, taken_b = {one.id for one, _ in pairs}, {other.id for _, other in pairs}
    return [x for x in a if x.id not in taken_a], [x for x in b if x.id not in taken_b]


def _unclear(
    a: Sequence[Configuration], b: Sequence[Configuration], keys: Sequence[str]
) -> dict[int, tuple[int, int]]:
    one, other = _grouped(a, keys), _grouped(b, keys)
    return {
        one[key][0].settings.train.batch_size: (len(one[key]), len(other[key]))
        for key in one
        if key in other
    }

"""Checks a value of a preset against the type of its key, and reports what was expected."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import msgspec.inspect as inspect

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.errors import UsageProblem, printable, shown, similar
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.spec import TABLES, Data, Model
from batchscope.engine.task_table import Argument, TaskTable

YIELDING = ("sharpness", "task")
"""Tables whose keys must be written dotted if another table has a key of the same name."""
NAMES = {Data: tuple(DATASETS), Model: tuple(FAMILIES)}
"""The tables whose `name` is one of a list."""
RECORDED: dict[type[msgspec.Struct], tuple[str, ...]] = {TaskTable: ("facts",)}
"""Fields of tables that are recorded, never written by a person."""
_LITERAL: Any = Literal


@cache  # a preset may ask a hundred thousand times
def field_types(table: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return the keys of a table with their annotated types; names are known ones."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(table)}
    for name in RECORDED.get(table, ()):
        del types[name]
    if table is TaskTable:
        types["arguments"] = dict[str, Argument]
    if table in NAMES:
        types["name"] = _LITERAL[NAMES[table]]
    return MappingProxyType(types)


@cache
def _dotted() -> tuple[str, ...]:
    return tuple(f"{table}.{name}" for table, kind in TABLES.items() for name in field_types(kind))


def is_argument(path: str) -> bool:
    """Return whether a dotted path is that of an argument of a task: `task.width`."""
    table, _, name = path.partition(".")
    return table == "task" and name.isidentifier() and name not in field_types(TaskTable)


def flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Flatten a table: yield dotted keys and values, where TOML made nested tables."""
    for key, value in table.items():
        if key in TABLES and isinstance(value, dict):
            for inner, deeper in value.items():
                yield f"{key}.{inner}", deeper
        else:
            yield key, value


def check_value(value: object, annotation: Any, where: str, hint: str = "") -> None:
    """Check that a value has the type and is finite.

    Args:
        value: the value.
        annotation: the annotated type.
        where: file and key, for the message.
        hint: ends the message about a wrong type, unless there is a nearest valid value.

    Raises:
        UsageProblem: it does not have the type, or is not finite.
    """
    where = printable(where)  # a key may be anything in [task.arguments]
    for each in value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, float) and not math.isfinite(each):
            raise UsageProblem(f"{where}: expected a finite number, got {each}")
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        info = inspect.type_info(annotation)
        near = similar(value, _choices(info)) if isinstance(value, str) else ""
        raise UsageProblem(
            f"{where}: expected {_expected(info)}, got {shown(value)}{near or hint}"
        ) from None


def expected(annotation: Any) -> str:
    """Describe the values of a type for a message: `an integer (at least 1)`."""
    return _expected(inspect.type_info(annotation))


def full_key(key: str, where: str, also: tuple[str, ...] = ()) -> str:
    """Return the dotted path of a key that is written dotted or, if unambiguous, bare.

    Args:
        key: the key as written.
        where: file and table, for the message.
        also: further keys that are valid in this place.

    Raises:
        UsageProblem: the key is unknown, or several tables have it.
    """
    dotted = _dotted()
    if key in dotted or is_argument(key):
        return key
    owners = [path for path in dotted if path.split(".", 1)[1] == key]
    if len(owners) > 1:  # a bare key keeps meaning that of the table which had it first
        owners = [path for path in owners if path.split(".", 1)[0] not in YIELDING]
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise UsageProblem(f"{where}: {key!r} is ambiguous; write {' or '.join(owners)}")
    bare = [path.split(".", 1)[1] for path in dotted]
    known = dotted if "." in key else sorted({*bare, *also})
    hint = similar(key, known) or "; docs/presets.md lists all keys"
    raise UsageProblem(f"{where}: unknown key {printable(key)!r}{hint}")


def meant(key: str, path: str, value: object) -> str:
    """Return a hint for a bare key with a value of the wrong type.

    A typo may be a key of another table. The hint then names that key and the nearest key which
    accepts the value: `; this key is probe.batch_sizes; did you mean 'batch_size'?`.
    """
    if key == path or path.startswith("train."):
        return ""
    fitting = [
        name
        for table in TABLES.values()
        for name, annotation in field_types(table).items()
        if name != key and _fits(value, annotation)
    ]
    return f"; this key is {path}{similar(key, fitting)}"


def _fits(value: object, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def type_of(path: str) -> Any:
    """Return the annotated type of a dotted path from `full_key`."""
    if is_argument(path):
        return Argument
    table, name = path.split(".", 1)
    return field_types(TABLES[table])[name]


def choices_of(path: str) -> list[str]:
    """Return the words that a dotted path from `full_key` takes; empty if it takes others too."""
    info = inspect.type_info(type_of(path))
    return ["true", "false"] if isinstance(info, inspect.BoolType) else _choices(info)


def _choices(info: inspect.Type) -> list[str]:
    if isinstance(info, inspect.UnionType):
        return [choice for part in info.types for choice in _choices(part)]
    if isinstance(info, inspect.LiteralType):
        return [str(value) for value in info.values]
    return []


def _expected(info: inspect.Type) -> str:
    match info:
        case inspect.UnionType(types=parts):
            return " or ".join(_expected(p) for p in parts if not isinstance(p, inspect.NoneType))
        case inspect.LiteralType(values=values):
            names = ", ".join(str(value) for value in values)
            return names if len(values) == 1 else f"one of {names}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.VarTupleType(item_type=item):
            return f"a list{_length(info)}, each entry {_expected(item)}"
        case inspect.TupleType(item_types=items):
            return f"a list of {len(items)}, each {_expected(items[0])}"
        case inspect.DictType():
            return "a table"
        case _:
            return "a string"


def _length(info: inspect.VarTupleType) -> str:
    bounds = [f"at least {info.min_length}"] if info.min_length else []
    bounds += [f"at most {info.max_length}"] if info.max_length is not None else []
    return f" of {' and '.join(bounds)}" if bounds else ""


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    bounds = []
    if info.ge is not None:
        bounds.append(f"at least {info.ge:g}")
    if info.gt is not None:
        bounds.append(f"above {info.gt:g}")
    if info.le is not None and info.le < 2**53:
        bounds.append(f"at most {info.le:g}")
    if info.lt is not None:
        bounds.append(f"below {info.lt:g}")
    return f" ({' and '.join(bounds)})" if bounds else ""

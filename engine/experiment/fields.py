"""Checks one value of a preset against the type of its key, and says what was expected."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import msgspec.inspect as inspect

from batchscope.engine.errors import UsageProblem, nearest, printable, shown, similar
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.spec import TABLES, Model

YIELDING = ("sharpness",)
"""Tables whose keys are given dotted where another table has one of the same name."""
_LITERAL: Any = Literal


def field_types(table: type[msgspec.Struct]) -> dict[str, Any]:
    """The keys of a table with their annotated types; `model.name` is one of the networks."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(table)}
    if table is Model:
        types["name"] = _LITERAL[tuple(FAMILIES)]
    return types


def flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Key and value, where a dotted key (`train.lr = ..`) has become a nested table."""
    for key, value in table.items():
        if key in TABLES and isinstance(value, dict):
            for inner, deeper in value.items():
                yield f"{key}.{inner}", deeper
        else:
            yield key, value


def check_value(value: object, annotation: Any, where: str, hint: str = "") -> None:
    """Raise `UsageProblem` naming `where` unless the value fits the type and is finite.

    `hint` ends what is said where the type is another, unless a value has one of its own.
    """
    for each in value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, float) and not math.isfinite(each):
            raise UsageProblem(f"{where}: must be a finite number, not {each}")
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        info = inspect.type_info(annotation)
        near = similar(value, _choices(info)) if isinstance(value, str) else ""
        raise UsageProblem(
            f"{where}: expected {_expected(info)}, got {shown(value)}{near or hint}"
        ) from None


def expected(annotation: Any) -> str:
    """What a value of the type is, as messages say it: `an integer (at least 1)`."""
    return _expected(inspect.type_info(annotation))


def full_key(key: str, where: str, also: tuple[str, ...] = ()) -> str:
    """The dotted path of a key of the tables, given dotted or (where unambiguous) bare.

    `also` names further keys that are valid where this one stands.

    Raises:
        UsageProblem: the key is unknown or stands in several tables.
    """
    dotted = [f"{table}.{name}" for table, kind in TABLES.items() for name in field_types(kind)]
    if key in dotted:
        return key
    owners = [path for path in dotted if path.split(".", 1)[1] == key]
    if len(owners) > 1:  # such a key has named that of the older table for as long as there is one
        owners = [path for path in owners if path.split(".", 1)[0] not in YIELDING]
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise UsageProblem(f"{where}: {key!r} is ambiguous: write {' or '.join(owners)}")
    bare = [path.split(".", 1)[1] for path in dotted]
    known = dotted if "." in key else sorted({*bare, *also})
    raise UsageProblem(f"{where}: unknown key {printable(key)!r}{nearest(key, known)}")


def meant(key: str, path: str, value: object) -> str:
    """`; it is probe.batch_sizes; did you mean 'batch_size'?` of a bare key whose value misfits.

    A slip that happens to be a key of another table is told by the key that would take the value.
    """
    if key == path or path.startswith("train."):
        return ""
    fitting = [
        name
        for table in TABLES.values()
        for name, annotation in field_types(table).items()
        if name != key and _fits(value, annotation)
    ]
    return f"; it is {path}{similar(key, fitting)}"


def _fits(value: object, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def type_of(path: str) -> Any:
    """The annotated type behind a dotted path that `full_key` returned."""
    table, name = path.split(".", 1)
    return field_types(TABLES[table])[name]


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
            return "one of " + ", ".join(str(value) for value in values)
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
            return "a text"


def _length(info: inspect.VarTupleType) -> str:
    least = f" of at least {info.min_length}" if info.min_length else ""
    return least + (f" of at most {info.max_length}" if info.max_length is not None else "")


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

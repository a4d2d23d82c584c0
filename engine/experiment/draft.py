"""A preset that is being edited: changes are kept as assignments, as `--set` makes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import Problem, UsageProblem, printable
from batchscope.engine.experiment.fields import expected, field_types, full_key, type_of
from batchscope.engine.experiment.preset import TEXTS, Preset, assign, load_preset, read_toml
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.spec import TABLES, PositiveInt

COMMON_LISTS = ("grid.batch_size", "grid.lr", "grid.optimizer")
LAST = ("interpolation", "cells", "claims", *TEXTS)
ORDER = ("grid", "seeds", *TABLES, *LAST)
EXAMPLES = {
    "cells": "a list of tables, for example [{batch_size = 8, lr = 0.1}]",
    "claims": "a list of tables, written as [[claims]] in the file",
    "select.seeds_after": "an integer (at least 0); default 0",
    "interpolation": "a table, for example {from = {batch_size = 64}, to = {batch_size = 2048}}",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its literal now and its literal in the file, empty where the key is not set."""

    key: str
    text: str
    written: str

    @property
    def changed(self) -> bool:
        """Return whether the value differs from the file's."""
        return self.text != self.written


@dataclass(frozen=True, slots=True)
class Checked:
    """The preset that a draft results in, or what is wrong with the draft."""

    preset: Preset | None
    problem: str = ""


class Draft:
    """The settings of a preset file, and the changes made to them.

    Raises:
        Problem: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = dict(_leaves(read_toml(path)))
        self._changes: dict[str, str] = {}

    @property
    def assignments(self) -> list[str]:
        """Return the changes as arguments of `--set`."""
        return [f"{key}={text}" for key, text in self._changes.items()]

    def settings(self) -> tuple[list[Setting], list[Setting]]:
        """Return all keys: those that the file or a change sets, and the others."""
        keys = {*self._written, *(key for key, text in self._changes.items() if text)}
        named = {*COMMON_LISTS, "seeds", "group", *_table_keys()}
        return (
            [self.setting(key) for key in sorted(keys, key=_place)],
            [self.setting(key) for key in sorted(named - keys, key=_place)],
        )

    def setting(self, key: str) -> Setting:
        """Return one key with its present value."""
        written = self._written.get(key, "")
        return Setting(key, self._changes.get(key, written), written)

    def change(self, key: str, text: str) -> None:
        """Set a key to a literal; an empty text removes the key."""
        self._changes.pop(key, None)
        if text.strip() != self._written.get(key, ""):
            self._changes[key] = text.strip()

    def reset(self, key: str) -> None:
        """Undo the change of a key."""
        self._changes.pop(key, None)

    def reset_all(self) -> None:
        """Undo all changes."""
        self._changes.clear()

    def trying(self, key: str, text: str) -> "Draft":
        """Return a copy of this draft with one change added."""
        other = Draft.__new__(Draft)
        other.path, other._written, other._changes = self.path, self._written, {**self._changes}
        other.change(key, text)
        return other


def checked(path: Path, assignments: list[str]) -> Checked:
    """Read a preset file with assignments, as the command line does; return preset or problem."""
    try:
        return Checked(load_preset(path, assignments))
    except Problem as problem:
        text = str(problem).removeprefix(f"{printable(path)}: ").removeprefix("--set ")
        return Checked(None, text)


def split(assignment: str) -> tuple[str, str]:
    """Split `KEY=VALUE` into key and value.

    Raises:
        UsageProblem: it has another form, or its first part is not a key of a preset.
    """
    assign({}, assignment)
    key, _, text = assignment.partition("=")
    return ".".join(part.strip() for part in key.split(".")), text.strip()


@cache
def meaning(key: str) -> str:
    """Describe the values of a key and its default; empty for an unknown key."""
    table, _, name = key.partition(".")
    if key == "seeds":
        return f"{expected(PositiveInt)}; default 1"
    if key in TEXTS:
        return "a string"
    if table == "grid":
        return f"a list, each entry {_of_grid(name)}".strip().removesuffix(", each entry")
    if table not in TABLES or name not in field_types(TABLES[table]):
        return EXAMPLES.get(key, "")
    default = default_of(key)
    return expected(type_of(key)) + (f"; default {default}" if default else "")


@cache
def default_of(key: str) -> str:
    """Return the literal of a key's default; empty if it has none."""
    table, _, name = key.partition(".")
    if table not in TABLES:
        return "1" if key == "seeds" else ""
    for field in msgspec.structs.fields(TABLES[table]):
        if field.encode_name == name and field.default not in (msgspec.NODEFAULT, None, ()):
            return literal(field.default)
    return ""


def _of_grid(name: str) -> str:
    try:
        return expected(type_of(full_key(name, "")))
    except UsageProblem:
        return ""


def _table_keys() -> list[str]:
    return [f"{table}.{name}" for table, kind in TABLES.items() for name in field_types(kind)]


def _leaves(raw: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys and literals, without keys that contain a dot: `--set` cannot set them."""
    for key, value in raw.items():
        path = f"{above}{key}"
        if "." in key or "=" in key or path == "plan":
            continue
        if isinstance(value, dict) and (above or key in (*TABLES, "grid")):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, literal(value)


def _place(key: str) -> tuple[int, int, str]:
    """Return the sort key of a key in the form: by table, then in the table's order."""
    table, _, name = key.partition(".")
    names = list(field_types(TABLES[table])) if table in TABLES else []
    where = ORDER.index(table) if table in ORDER else len(ORDER)
    return where, names.index(name) if name in names else len(names), key

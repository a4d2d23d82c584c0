"""A preset that is being edited: changes are kept as assignments, as `--set` makes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import Problem, UsageProblem, printable
from batchscope.engine.experiment.fields import (
    expected,
    field_types,
    full_key,
    is_argument,
    type_of,
)
from batchscope.engine.experiment.preset import (
    TEXTS,
    Preset,
    assign,
    key_faults,
    load_preset,
    read_literal,
    read_toml,
)
from batchscope.engine.experiment.preset_faults import PresetProblem, path_of
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.spec import TABLES
from batchscope.engine.table import PositiveInt
from batchscope.engine.tasks.reference import find_task, parameters_of

COMMON_LISTS = ("grid.batch_size", "grid.lr", "grid.optimizer")
LAST = ("interpolation", "cells", "claims", *TEXTS)
ORDER = ("grid", "seeds", "task", *TABLES, *LAST)
ARGUMENTS = "task.arguments"
OF_A_TASK = "task."
BROUGHT = ("data.", "model.")
"""Settings in the place of which a task stands."""
EXAMPLES = {
    "task.use": "the function that returns the task, as 'module:function', for example 'mine:make'",
    "task.path": "the folder of the module, if it is not that of the preset",
    "cells": "a list of tables, for example [{batch_size = 8, lr = 0.1}]",
    "claims": "a list of tables, written as [[claims]] in the file",
    "select.seeds_after": "an integer (at least 0); default 0",
    "interpolation": "a table, for example {from = {batch_size = 64}, to = {batch_size = 2048}}",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its literal now and its literal in the file, empty where the key is not set.

    `default` is that of a parameter of a task's function.
    """

    key: str
    text: str
    written: str
    default: str = ""

    @property
    def changed(self) -> bool:
        """Return whether the value differs from the file's."""
        return self.text != self.written


@dataclass(frozen=True, slots=True)
class Checked:
    """The preset that a draft results in, or what is wrong with the draft, a line a fault."""

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
        self._known: dict[tuple[str, str], dict[str, str]] = {}

    @property
    def assignments(self) -> list[str]:
        """Return the changes as arguments of `--set`."""
        return [f"{key}={text}" for key, text in self._changes.items()]

    def settings(self) -> tuple[list[Setting], list[Setting]]:
        """Return all keys: those that the file or a change sets, and the others."""
        keys = {*self._written, *(key for key, text in self._changes.items() if text)}
        named = {*COMMON_LISTS, "seeds", "group", *self._offered(keys)}
        return (
            [self.setting(key) for key in sorted(keys, key=_place)],
            [self.setting(key) for key in sorted(named - keys, key=_place)],
        )

    def setting(self, key: str) -> Setting:
        """Return one key with its present value."""
        written = self._written.get(key, "")
        default = self._parameters().get(key, "") if key.startswith(f"{ARGUMENTS}.") else ""
        return Setting(key, self._changes.get(key, written), written, default)

    def _offered(self, set_: set[str]) -> list[str]:
        """Return the keys of tables that may be set: of a task, or else of data and model.

        Args:
            set_: the keys that are set already.
        """
        known = [key for key in _table_keys() if key != ARGUMENTS]
        if not any(key.startswith(OF_A_TASK) for key in set_):
            return [key for key in known if not key.startswith(OF_A_TASK)]
        taken = {key.rpartition(".")[2] for key in set_ if ".task." in f".{key}"}
        arguments = [key for key in self._parameters() if key.rpartition(".")[2] not in taken]
        return [*(key for key in known if not key.startswith(BROUGHT)), *arguments]

    def _parameters(self) -> dict[str, str]:
        """Return the parameters of the task's function as keys, with their defaults.

        They are read from its source; there are none if it cannot be read.
        """
        use, path = (self._string(f"{OF_A_TASK}{key}") for key in ("use", "path"))
        if (use, path) not in self._known:
            self._known[use, path] = _parameters(self.path.resolve().parent / path, use)
        return self._known[use, path]

    def _string(self, key: str) -> str:
        try:
            value = read_literal(self._changes.get(key, self._written.get(key, "")), "")
        except UsageProblem:
            return ""
        return value if isinstance(value, str) else ""

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
        other._known = self._known
        other.change(key, text)
        return other


def checked(path: Path, assignments: list[str]) -> Checked:
    """Read a preset file with assignments, as the command line does; return preset or problem."""
    try:
        return Checked(load_preset(path, assignments))
    except PresetProblem as problem:
        told = (each.text if each.assignment else each.said for each in problem.faults)
        return Checked(None, "\n".join(each.removeprefix("--set ") for each in told))
    except Problem as problem:
        text = str(problem).removeprefix(f"{printable(path)}: ").removeprefix("--set ")
        return Checked(None, text)


def value_problem(key: str, text: str) -> str:
    """Return why no preset can have this value; empty if one can, or if it removes the key."""
    raw: dict[str, Any] = {"title": "-"}
    try:
        assign(raw, f"{key}={text}")
    except UsageProblem as problem:
        return str(problem).removeprefix("--set ")
    for fault in key_faults(raw) if text.strip() else ():
        path = path_of(fault)
        if path == key or path.startswith((f"{key}.", f"{key}[")):
            return fault
    return ""


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
    if key in EXAMPLES:
        return EXAMPLES[key]
    if is_task_argument(key):
        return "an argument of the task's function: a number, a string, true or false, or a list"
    if key == "seeds":
        return f"{expected(PositiveInt)}; default 1"
    if key in TEXTS:
        return "a string"
    if table == "grid":
        return f"a list, each entry {_of_grid(name)}".strip().removesuffix(", each entry")
    if table not in TABLES or name not in field_types(TABLES[table]):
        return ""
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


def is_task_argument(key: str) -> bool:
    """Return whether a key is an argument of a task's function, in either spelling."""
    return key.startswith(f"{ARGUMENTS}.") or is_argument(key)


def _parameters(folder: Path, use: str) -> dict[str, str]:
    try:
        parameters, _ = parameters_of(find_task(use, folder))
    except (UsageProblem, OSError, ValueError):
        return {}
    return {
        f"{ARGUMENTS}.{each.name}": "" if each.default is None else literal(each.default)
        for each in parameters
    }


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

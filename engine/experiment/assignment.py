"""Applies `--set KEY=VALUE` to the content of a preset."""

import tomllib
from typing import Any

from batchscope.engine.errors import UsageProblem, nearest, printable
from batchscope.engine.experiment.fields import full_key
from batchscope.engine.spec import TABLES
from batchscope.engine.system.untrusted_files import MOST_DEPTH, too_deep

LONGEST_SHOWN = 400
TEXTS = ("name", "title", "question", "source", "group")
TOP_LEVEL = (
    *TEXTS,
    "seeds",
    *TABLES,
    "grid",
    "cells",
    "select",
    "phases",
    "claims",
    "judging",
    "plan",
    "interpolation",
)


def assign(raw: dict[str, Any], assignment: str) -> None:
    """Apply one `--set KEY=VALUE`: a dotted key and a TOML literal (a bare word is a string).

    Without a value, title, question and the like become empty; any other key is removed.
    """
    key, equals, text = assignment.partition("=")
    where = f"--set {_shortened(printable(assignment))}"
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UsageProblem(f"{where}: expected KEY=VALUE, for example train.lr=0.1")
    if parts[0] not in TOP_LEVEL:
        raise UsageProblem(f"{where}: unknown key {parts[0]!r}{suggestion(parts[0])}")
    if len(parts) > MOST_DEPTH:
        raise UsageProblem(f"{where}: the key has more than {MOST_DEPTH} parts")
    table = raw
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UsageProblem(f"{where}: {part!r} is not a table")
    if text.strip() or key.strip() in TEXTS:
        table[parts[-1]] = read_literal(text.strip(), where)
    else:
        table.pop(parts[-1], None)


def read_literal(text: str, where: str) -> Any:
    """Return the value of a TOML literal; a bare word is a string.

    Raises:
        UsageProblem: it looks like a literal, but is none.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        if text and text[0] in "[{\"'":
            raise UsageProblem(f"{where}: {printable(text)} is not a TOML value") from None
        return text
    if set(parsed) != {"value"}:
        raise UsageProblem(f"{where}: expected one value")
    if too_deep(parsed["value"]):
        raise UsageProblem(f"{where}: the value is nested too deeply")
    return parsed["value"]


def suggestion(key: str) -> str:
    """Return the nearest key of a preset, or those at its top, to end a message."""
    try:
        return f"; did you mean {full_key(key, '')}?"
    except UsageProblem:
        return nearest(key, TOP_LEVEL)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."

"""What the keys of a preset do, as docs/presets.md has it: the strings under the fields.

Such a string costs nothing at run time, so it is read from the source when somebody asks.
"""

import ast
import inspect
import textwrap
from functools import cache

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.fields import full_key
from batchscope.engine.spec import TABLES
from batchscope.engine.table import Table

TOP = {
    "title": "Names the experiment.",
    "question": "The question that the experiment answers.",
    "source": "The paper that it repeats, if any.",
    "group": "The heading under which the menu lists it.",
    "name": "The name under which a sweep is stored; without it that of the file.",
    "seeds": "How many replicates each configuration has: trials that differ in the seed alone.",
    "cells": "Configurations that stand beside the grid, one table each.",
    "claims": "Statements that the sweep's seeds support or contradict.",
    "phases": "Changes of learning rate or batch size during a training.",
}


@cache
def description(key: str) -> str:
    """Return what a key does; empty for a key without a description.

    In `[grid]` and `[select]` it is that of the setting that varies.
    """
    if key in TOP:
        return TOP[key]
    table, _, name = key.partition(".")
    if table in ("grid", "select"):
        try:
            varied = description(full_key(name, ""))
        except UsageProblem:
            return ""
        one = "Every value is trained" if table == "grid" else "The best value is kept"
        return f"{one}. {varied}".strip()
    return _under_fields(TABLES[table]).get(name, "") if table in TABLES else ""


@cache
def _under_fields(kind: type[Table]) -> dict[str, str]:
    """Return the string under each field of a table; none if the source is not there."""
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, SyntaxError, TypeError):
        return {}
    words: dict[str, str] = {}
    last = ""
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                last = name
            case ast.Expr(value=ast.Constant(value=str(text))) if last:
                words[last], last = " ".join(text.split()).replace("`", ""), ""
            case _:
                last = ""
    return words

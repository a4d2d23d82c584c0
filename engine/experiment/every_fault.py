"""Looks through a preset that was refused, part by part, for everything that is wrong with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.claims import read_claim, read_claims
from batchscope.engine.experiment.fields import flat, full_key
from batchscope.engine.experiment.grid import (
    missing,
    read_cell,
    read_cells,
    read_grid,
    tables_with,
    unfold,
)
from batchscope.engine.experiment.interpolation import read_interpolation
from batchscope.engine.experiment.phases import read_phase, with_phases
from batchscope.engine.experiment.selection import read_select
from batchscope.engine.experiment.selectors import Idle
from batchscope.engine.metrics.task_metrics import is_task_metric
from batchscope.engine.spec import TABLES

MOST_LOOKED_AT = 200
"""Entries of one list that are looked at: a list may have a hundred thousand."""
NOWHERE = ""


class Looked:
    """Notes what the checks of the parts raise."""

    def __init__(self, where: str) -> None:
        self._where = f"{where}: "
        self.texts: list[str] = []

    @contextmanager
    def noting(self, idle: bool = False) -> Iterator[None]:
        """Note the fault that is raised; with `idle` also that there is no such configuration."""
        try:
            yield
        except UsageProblem as problem:
            if idle or not isinstance(problem, Idle):
                self.note(str(problem).removeprefix(self._where))

    def note(self, text: str) -> None:
        """Note a fault once."""
        if text not in self.texts:
            self.texts.append(text)

    def note_key(self, text: str) -> None:
        """Note a fault, if none is noted at its key: other configurations may have it too."""
        key = text.partition(": ")[0]
        if not any(each.startswith(f"{key}: ") for each in self.texts):
            self.note(text)


def every_fault(
    raw: dict[str, Any], first: str, where: str, parts: Iterator[Callable[[], object]]
) -> list[str]:
    """Return everything that is wrong with a preset, without the file's name.

    Args:
        raw: the preset, which was refused.
        first: why.
        where: the file.
        parts: checks of single keys, each of which may raise `UsageProblem`.
    """
    looked = _key_by_key(raw, where, parts)
    values = _varied(raw)
    if values is not None:
        _missing(raw, values, looked)
    if not looked.texts:
        _together(raw, where, looked)
    return looked.texts if first in looked.texts else [first, *looked.texts]


def faults_of_keys(
    raw: dict[str, Any], where: str, parts: Iterator[Callable[[], object]]
) -> list[str]:
    """Return what is wrong with single keys of a preset, which may lack all others."""
    return _key_by_key(raw, where, parts).texts


def _key_by_key(raw: dict[str, Any], where: str, parts: Iterator[Callable[[], object]]) -> Looked:
    looked = Looked(where)
    for part in parts:
        with looked.noting():
            part()
    _lists(raw, where, looked)
    _claims(raw, where, looked)
    return looked


def _lists(raw: dict[str, Any], where: str, looked: Looked) -> None:
    """Look through grid, cells, select and phases, entry by entry."""
    grid, cells, phases = raw.get("grid", {}), raw.get("cells", []), raw.get("phases", [])
    if isinstance(grid, dict):
        for key, values in flat(grid):
            with looked.noting():
                read_grid({key: values}, where)
    with looked.noting():
        read_grid(grid, where)
    if _are_tables(cells):
        for index, cell in enumerate(cells[:MOST_LOOKED_AT]):
            for key, value in flat(cell):
                with looked.noting():
                    read_cell({key: value}, f"{where}: cells[{index}]")
    with looked.noting():
        read_cells(cells, where)
    with looked.noting():
        read_select(raw.get("select", {}), {}, where)
    if _are_tables(phases):
        for index, phase in enumerate(phases[:MOST_LOOKED_AT]):
            with looked.noting():
                read_phase(phase, f"{where}: phases[{index}]")
    else:
        with looked.noting():
            with_phases(phases, [], where)


def _claims(raw: dict[str, Any], where: str, looked: Looked) -> None:
    """Look through the claims without the configurations that they are about."""
    claims = raw.get("claims", [])
    if not _are_tables(claims):
        with looked.noting():
            read_claims(claims, (), where)
        return
    for index, claim in enumerate(claims[:MOST_LOOKED_AT]):
        if "task" in raw and is_task_metric(str(claim.get("measure"))):
            continue  # whether a task measures it is known with its configurations
        with looked.noting():
            read_claim(dict(claim), (), f"{where}: claims[{index}]")


def _varied(raw: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the values that grid and cells set, for some configurations; None if unreadable.

    A key with a wrong value counts as set: that it lacks is not what is wrong.
    """
    grid, cells, select = raw.get("grid", {}), raw.get("cells", []), raw.get("select", {})
    if not (isinstance(grid, dict) and _are_tables(cells) and isinstance(select, dict)):
        return None
    if not all(isinstance(raw.get(table, {}), dict) for table in TABLES):
        return None
    selected = _resolved(select)
    return [
        {**selected, **_resolved(each)}
        for each in ([grid] if grid or not cells else []) + cells[:MOST_LOOKED_AT]
    ]


def _resolved(table: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in flat(table):
        try:
            found[full_key(key, NOWHERE)] = value
        except UsageProblem:
            continue
    return found


def _missing(raw: dict[str, Any], entries: list[dict[str, Any]], looked: Looked) -> None:
    """Note what is required and not there, unless a key with another name may be meant."""
    for key in raw:
        if any(text.startswith(f"unknown key {key!r}") for text in looked.texts):
            return
    strange = {text for text in looked.texts if "unknown key" in text}
    if any(text.startswith(("grid: ", "select: ", "cells[")) for text in strange):
        return
    for values in entries:
        tables = tables_with(raw, values, selects=False)
        if tables["task"]:
            tables["data"]["name"] = tables["model"]["name"] = "task"
        for text in missing(tables):
            table = text.partition(":")[0].partition(".")[0]
            meant = table == "probe" and any("probe." in each for each in looked.texts)
            if not meant and not any(f"unknown key '{table}." in each for each in strange):
                looked.note(text)


def _together(raw: dict[str, Any], where: str, looked: Looked) -> None:
    """Look for settings that contradict each other, then at what is said of configurations."""
    try:
        configurations, _ = unfold(raw, where, every=looked.note_key)
    except UsageProblem as problem:
        looked.note(str(problem).removeprefix(f"{where}: "))
        return
    if looked.texts:
        return
    claims = raw.get("claims", [])
    for index, claim in enumerate(claims[:MOST_LOOKED_AT]):
        with looked.noting(idle=True):
            read_claim(dict(claim), configurations, f"{where}: claims[{index}]")
    with looked.noting(idle=True):
        read_interpolation(raw.get("interpolation", {}), configurations, where)


def _are_tables(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)

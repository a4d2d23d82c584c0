"""Expands grid and cells into configurations with readable ids."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from batchscope.engine.errors import UsageProblem, printable, shown
from batchscope.engine.experiment.contradictions import contradictions
from batchscope.engine.experiment.fields import check_value, flat, full_key, meant, type_of
from batchscope.engine.experiment.phases import course_problem, effective_schedule, with_phases
from batchscope.engine.experiment.selection import (
    SHARE,
    Overrides,
    SelectTable,
    distinct,
    read_select,
    refusal,
    slug,
)
from batchscope.engine.experiment.task_settings import stand_in
from batchscope.engine.networks.architectures import channels_of, hidden_of
from batchscope.engine.schedule.target import canonical
from batchscope.engine.spec import BUDGETS, MAX_TRIALS, TABLES, Configuration, Settings

BATCH_SIZE = "train.batch_size"
SHORT = {BATCH_SIZE: "b", "train.lr": "lr", "train.momentum": "m", "train.weight_decay": "wd"}
NAME_ALONE = ("data.name", "model.name", "train.optimizer", "schedule.kind")


class _Unfolded(NamedTuple):
    """The settings of a configuration before it is named.

    Attributes:
        settings: its settings.
        label: the label of its cell, or empty.
        base: index of the entry of grid and cells that it comes from.
        open: the keys in which it differs from its rivals, the other candidates of that entry.
        seeds: the seeds of its trials.
    """

    settings: Settings
    label: str
    base: int
    open: list[str]
    seeds: tuple[int, ...]


def unfold(
    raw: dict[str, Any], where: str, every: Callable[[str], None] | None = None
) -> tuple[list[Configuration], list[str]]:
    """Return every configuration of a preset, and notes about values without effect.

    Args:
        raw: the preset; its tables were checked.
        where: the file, for messages.
        every: receives every contradiction of settings; without it, the first is raised.

    Raises:
        UsageProblem: grid or cells are malformed, a setting is missing, or settings contradict.
    """
    grid = read_grid(raw.get("grid", {}), where)
    cells = read_cells(raw.get("cells", []), where)
    contest = read_select(raw.get("select", {}), grid, where)
    _check_count(grid, cells, contest, raw.get("seeds", 1), where)
    entries = [(overrides, "") for overrides in _product(grid)] if grid or not cells else []
    entries += cells
    unfolded = [
        _Unfolded(
            _settings(raw, candidate, where, contest, every),
            label,
            base,
            contest.open_keys(overrides),
            tuple(contest.seeds(overrides, raw.get("seeds", 1))),
        )
        for base, (overrides, label) in enumerate(entries)
        for candidate in contest.candidates(overrides)
    ]
    varied = _varied([each.settings for each in unfolded])
    rivals = _rivals(unfolded, varied)
    unnamed = [
        Configuration(
            id=str(index),
            label=_labelled(each, varied),
            settings=each.settings,
            seeds=each.seeds,
            rivals=rivals[each.base],
        )
        for index, each in enumerate(unfolded)
    ]
    changing = with_phases(raw.get("phases", []), unnamed, where)
    _refuse_twins([each.settings for each in changing], where)
    for configuration in changing:
        problem = course_problem(configuration.settings)
        if problem:
            raise UsageProblem(f"{where}: {problem}")
    same = len({each.settings.phases for each in changing}) == 1
    ids = distinct([_id(each.settings, varied, phases=not same) for each in changing])
    configurations = [replace(each, id=name) for each, name in zip(changing, ids, strict=True)]
    return configurations, _without_effect(raw, grid, cells, contest)


def _labelled(of: _Unfolded, varied: list[str]) -> str:
    """Return the label of a cell with the values that differ from its rivals'.

    Without a label, the values that differ between any two configurations.
    """
    if not of.label:
        return _label(of.settings, varied)
    return of.label + "".join(f", {part}" for part in _parts(of.settings, of.open))


def _rivals(unfolded: list[_Unfolded], varied: list[str]) -> list[str]:
    """Return the names of the groups of rivals in the order of grid and cells.

    The name is empty where there are no rivals.
    """
    names: dict[int, str] = {}
    for each in unfolded:
        others = [path for path in varied if path not in each.open]
        names[each.base] = (each.label or _label(each.settings, others)) if each.open else ""
    groups = [base for base, name in names.items() if name]
    numbered = dict(zip(groups, distinct([names[base] for base in groups]), strict=True))
    return [numbered.get(base, "") for base in names]


def read_grid(grid: object, where: str) -> dict[str, list[Any]]:
    """Return the lists of `[grid]` by dotted key.

    Raises:
        UsageProblem: it is malformed.
    """
    if not isinstance(grid, dict):
        raise UsageProblem(f"{where}: grid: expected a table, written [grid]")
    checked: dict[str, list[Any]] = {}
    for key, values in flat(grid):
        at = f"{where}: grid.{printable(key)}"
        path = full_key(key, f"{where}: grid")
        if not isinstance(values, list) or not values:
            raise UsageProblem(f"{at}: expected a list of at least one value, got {shown(values)}")
        if path in checked:
            raise UsageProblem(f"{at}: {path} is given twice, bare and dotted")
        for index, value in enumerate(values):
            check_value(value, type_of(path), f"{at}[{index}]", meant(key, path, value))
        checked[path] = values
    return checked


def read_cells(cells: object, where: str) -> list[tuple[Overrides, str]]:
    """Return the values of each of `[[cells]]` by dotted key, and its label.

    Raises:
        UsageProblem: one is malformed.
    """
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise UsageProblem(f"{where}: cells: expected tables, written [[cells]]")
    return [read_cell(cell, f"{where}: cells[{index}]") for index, cell in enumerate(cells)]


def read_cell(cell: dict[str, Any], at: str) -> tuple[Overrides, str]:
    """Return the values of one cell by dotted key, and its label; `at` is the file and its place.

    Raises:
        UsageProblem: it is malformed.
    """
    label, overrides = "", {}
    for key, value in flat(cell):
        if key == "label":
            if not isinstance(value, str):
                raise UsageProblem(f"{at}.label: expected a string, got {shown(value)}")
            label = printable(" ".join(value.split()))
            continue
        path = full_key(key, at, also=("label",))
        if path in overrides:
            raise UsageProblem(f"{at}.{printable(key)}: {path} is given twice")
        check_value(value, type_of(path), f"{at}.{key}", meant(key, path, value))
        overrides[path] = value
    return overrides, label


def _check_count(
    grid: dict[str, list[Any]],
    cells: list[tuple[Overrides, str]],
    contest: SelectTable,
    seeds: int,
    where: str,
) -> None:
    count = math.prod(len(values) for values in grid.values()) if grid or not cells else 0
    total = count * contest.trials({}, seeds)
    total += sum(contest.trials(overrides, seeds) for overrides, _ in cells)
    if total > MAX_TRIALS:
        raise UsageProblem(
            f"{where}: grid, cells and seeds make {total:,} trials; at most {MAX_TRIALS:,} can run"
        )


def _product(grid: dict[str, list[Any]]) -> list[Overrides]:
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _settings(
    raw: dict[str, Any],
    overrides: Overrides,
    where: str,
    contest: SelectTable,
    every: Callable[[str], None] | None,
) -> Settings:
    tables = tables_with(raw, overrides, bool(contest.values))
    if tables["task"]:
        stand_in(tables, where)
    else:
        del tables["task"]
    for problem in missing(tables):
        raise UsageProblem(f"{where}: {problem}")
    settings = msgspec.convert(tables, Settings)
    for problem in contradictions(settings):
        if every is None:
            raise UsageProblem(f"{where}: {problem}")
        every(problem)
    refused = refusal(contest, settings) if contest.values else None
    if refused:
        raise UsageProblem(f"{where}: {refused}")
    return settings


def tables_with(
    raw: dict[str, Any], overrides: Overrides, selects: bool
) -> dict[str, dict[str, Any]]:
    """Return the tables of a preset with the values of grid and cells in them.

    Args:
        raw: the preset; its tables are dicts.
        overrides: values by dotted key.
        selects: whether it has `[select]`, for which a share is held out.
    """
    tables = {name: dict(raw.get(name, {})) for name in TABLES}
    if selects:
        tables["task" if tables["task"] else "data"].setdefault("validation", SHARE)
    for path, value in overrides.items():
        table, key = path.split(".", 1)
        tables[table][key] = value
        if key in BUDGETS:  # a budget in a cell replaces that of [train]
            for other in set(BUDGETS) - {key} - {p.split(".", 1)[1] for p in overrides}:
                tables[table].pop(other, None)
    return tables


def missing(tables: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what the tables of one configuration lack, as `key: reason`."""
    for path in ("data.name", "model.name", "train.batch_size", "train.lr"):
        table, key = path.split(".", 1)
        if key not in tables[table]:
            also = ", in [grid] or in every one of [[cells]]" if table == "train" else ""
            yield f"{path}: required in [{table}]{also}"
    budgets = [key for key in BUDGETS if key in tables["train"]]
    if len(budgets) != 1:
        given = " and ".join(budgets) or "none"
        yield (
            f"train: expected one budget ({', '.join(BUDGETS[:-1])} or {BUDGETS[-1]}), got {given}"
        )
    if tables["probe"] and "at" not in tables["probe"]:
        yield (
            "probe.at: required in [probe]: when to measure, as shares of the budget, "
            "for example [0, 0.5, 1]"
        )


def effective(settings: Settings) -> Settings:
    """Return the settings with defaults filled in, without those that this training ignores."""
    model, train, scaling = settings.model, settings.train, settings.scaling
    train = canonical(train)
    if train.optimizer not in ("momentum", "nesterov"):
        train = replace(train, momentum=0.0)
    if scaling.rule == "none":
        scaling = replace(scaling, base_batch_size=None)
    model = replace(model, hidden=hidden_of(model), channels=channels_of(model), width=1.0)
    schedule = effective_schedule(settings.schedule)
    run = replace(settings.run, keep_weights=False)  # storing weights changes no training
    return replace(settings, model=model, train=train, scaling=scaling, schedule=schedule, run=run)


def _refuse_twins(all_settings: list[Settings], where: str) -> None:
    seen: dict[bytes, int] = {}
    for index, settings in enumerate(all_settings):
        twin = seen.setdefault(msgspec.json.encode(effective(settings)), index)
        if twin != index:
            raise UsageProblem(
                f"{where}: configurations {twin + 1} and {index + 1} of grid and cells are the "
                "same; remove one"
            )


def _setting(settings: Settings, path: str) -> Any:
    """Return the value of a dotted key; None for one that a task or its absence replaces."""
    table, key = path.split(".", 1)
    task = settings.task
    if table == "task":
        return None if task is None else dict(task.arguments).get(key, getattr(task, key, None))
    if task is not None and table in ("data", "model"):  # the table of the task says what they do
        return None
    return getattr(getattr(settings, table), key)


def _value(settings: Settings, path: str) -> Any:
    """Return the value of a dotted key, as a preset would write it."""
    value = msgspec.to_builtins(_setting(settings, path))
    return tuple(value) if isinstance(value, list) else value


def _varied(all_settings: list[Settings]) -> list[str]:
    """Return the dotted keys, except batch size, with values that differ between configurations."""
    plain = [(table, kind) for table, kind in TABLES.items() if table != "task"]
    paths = [f"{table}.{key}" for table, kind in plain for key in kind.__struct_fields__]
    tasks = [each.task for each in all_settings if each.task]
    arguments = {f"task.{name}" for task in tasks for name, _ in task.arguments}
    paths += ["task.use", "task.path", "task.validation", *sorted(arguments)] if tasks else []
    return [path for path in paths if path != BATCH_SIZE and _differs(all_settings, path)]


def _differs(all_settings: list[Settings], path: str) -> bool:
    first = _setting(all_settings[0], path)
    return any(_setting(other, path) != first for other in all_settings)


def _id(settings: Settings, varied: list[str], phases: bool) -> str:
    parts = [f"b{settings.train.batch_size}"]
    for path in varied:
        value = _value(settings, path)
        if value is not None:
            prefix = "" if path in NAME_ALONE else SHORT.get(path, path.split(".", 1)[1] + "-")
            parts.append(prefix + _plain(value, "-"))
    for phase in settings.phases if phases else ():
        parts += ["then", f"b{phase.batch_size}"] if phase.batch_size else ["then"]
        parts += [f"lr{_plain(phase.lr, '')}"] if phase.lr else []
    return slug("-".join(parts))


def _label(settings: Settings, varied: list[str]) -> str:
    return ", ".join([f"{settings.train.batch_size}", *_parts(settings, varied)])


def _parts(settings: Settings, varied: list[str]) -> Iterator[str]:
    """Yield key and value, as text, of each of the `varied` settings that has a value."""
    for path in varied:
        value = _value(settings, path)
        if value is not None:
            name = "" if path in NAME_ALONE else path.split(".", 1)[1] + " "
            yield name + _plain(value, ",")


def _plain(value: object, joint: str) -> str:
    if isinstance(value, tuple):
        return joint.join(str(entry) for entry in value)
    return f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)


def _without_effect(
    raw: dict[str, Any],
    grid: dict[str, list[Any]],
    cells: list[tuple[Overrides, str]],
    contest: SelectTable,
) -> list[str]:
    """Return notes about values in tables that [grid], [[cells]] or [select] override."""
    notes = []
    for path in grid:
        table, key = path.split(".", 1)
        if key in raw.get(table, {}) and all(path in overrides for overrides, _ in cells):
            notes.append(f"{path} in [{table}] has no effect, because [grid] sets it")
    for path in contest.values:
        table, key = path.split(".", 1)
        if key in raw.get(table, {}):
            notes.append(f"{path} in [{table}] has no effect, because [select] sets it")
    return notes

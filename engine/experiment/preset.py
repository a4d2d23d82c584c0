"""Reads a preset file into checked settings. Every error message names the file and the key."""

import errno
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import MachineProblem, UsageProblem, nearest, printable
from batchscope.engine.errors import shown as quoted
from batchscope.engine.experiment.claims import leave_out_idle, read_claims
from batchscope.engine.experiment.fields import check_value, field_types, full_key
from batchscope.engine.experiment.grid import unfold
from batchscope.engine.experiment.interpolation import leave_out_idle as leave_out_line
from batchscope.engine.experiment.interpolation import read_interpolation
from batchscope.engine.experiment.selection import confirming, read_select
from batchscope.engine.experiment.task_settings import check_task
from batchscope.engine.experiment.warmup_check import refuse_unreached
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import (
    TABLES,
    Claim,
    Configuration,
    Interpolation,
    Judging,
    Selection,
)
from batchscope.engine.system.files import is_there
from batchscope.engine.system.untrusted_files import (
    MOST_DEPTH,
    decode_toml,
    is_damage,
    read_bytes,
    too_deep,
)
from batchscope.engine.table import PositiveInt, Table
from batchscope.engine.task_table import Argument, TaskTable

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


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A checked preset.

    `raw` is the content of the file with `--set` applied, as stored with a sweep. `group` is
    the heading under which the menu lists the preset, or empty.
    """

    name: str
    title: str
    question: str
    source: str
    group: str
    configurations: tuple[Configuration, ...]
    claims: tuple[Claim, ...]
    selection: Selection | None
    plans: tuple[Plan, ...]
    notes: tuple[str, ...]
    raw: dict[str, Any]
    interpolation: Interpolation | None = None
    judging: Judging = Judging()
    task_folder: str = ""
    exported: bool = False
    """Whether the file came in an export, so that its code is not trusted by its folder."""
    points_from: str = ""
    """The folder of the file, if it names the folder of its code (`task.path`); else empty."""

    @property
    def trial_count(self) -> int:
        """Return the number of trials that are known at the start, over all configurations."""
        return sum(len(configuration.seeds) for configuration in self.configurations)

    @property
    def trials_after_choice(self) -> int:
        """Return the number of trials with fresh seeds that `[select]` adds after its choice."""
        return sum(len(each.seeds) for each in self.foreseen) - self.trial_count

    @property
    def foreseen(self) -> tuple[Configuration, ...]:
        """Return the configurations, and for each group of rivals one to confirm its choice.

        Which candidate will be chosen is not known: the first stands for the group.
        """
        after = self.selection.seeds_after if self.selection else 0
        firsts: dict[str, Configuration] = {}
        for each in self.configurations if after else ():
            if each.rivals:
                firsts.setdefault(each.rivals, each)
        every = self.configurations
        return (*every, *(confirming(each, after, every) for each in firsts.values()))


def load_preset(path: Path, assignments: Sequence[str] = (), stored: bool = False) -> Preset:
    """Read a preset file and apply `--set` assignments.

    Args:
        path: the file.
        assignments: values of `--set`.
        stored: whether the sweep has been started, see `parse_preset`.

    Raises:
        UsageProblem: the file does not exist, is not TOML, or has a wrong value.
        MachineProblem: the file exists but cannot be read.
    """
    raw = read_toml(path)
    table = raw.get("task")
    points = isinstance(table, dict) and bool(table.get("path"))
    for assignment in assignments:
        assign(raw, assignment)
    shown = printable(path)
    preset = parse_preset(raw, path.stem, shown, changed=bool(assignments), stored=stored)
    tasks = [each.settings.task for each in preset.configurations if each.settings.task]
    if not tasks or stored:
        return preset
    exported = _is_exported(path, raw)
    folder = path.resolve().parent / tasks[0].path
    if any(each.path != tasks[0].path for each in tasks):
        raise UsageProblem(f"{shown}: task.path: must be the same for all trials")
    try:
        for each in {each.name: each for each in tasks}.values():
            check_task(each, str(folder), shown)
    except UsageProblem as problem:
        if exported and not tasks[0].path:
            hint = "an export holds no code: name its folder with --set task.path=DIR"
            raise UsageProblem(f"{problem}; {hint}") from None
        raise
    named = any(each.partition("=")[0].strip() == "task.path" for each in assignments)
    own = path.resolve().parent
    return msgspec.structs.replace(
        preset,
        task_folder=str(folder.resolve()),
        exported=exported,
        points_from=str(own) if points and not named and folder.resolve() != own else "",
    )


def _is_exported(path: Path, raw: dict[str, Any]) -> bool:
    """Return whether a preset is that of an export: by its plans, its name or its neighbours."""
    beside = all(is_there(path.with_name(name)) for name in ("manifest.json", "trials.csv"))
    return "plan" in raw or path.name == "sweep.toml" or beside


def read_toml(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file; see `load_preset` for the errors."""
    shown = printable(path)
    try:
        content = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageProblem(f"{shown}: no such preset file") from None
    except IsADirectoryError:
        raise UsageProblem(f"{shown}: this is a folder, expected a preset file") from None
    except OSError as error:
        looped = error.errno == errno.ELOOP
        kind = UsageProblem if is_damage(error) and not looped else MachineProblem
        raise kind(f"{shown}: cannot be read: {printable(error.strerror or error)}") from None
    except ValueError as error:
        raise MachineProblem(f"{shown}: cannot be read: {printable(error)}") from None
    return parse_toml(content, shown)


def parse_toml(content: bytes, shown: str) -> dict[str, Any]:
    """Return the tables in the content of a preset file.

    Args:
        content: the content.
        shown: the file, for messages.

    Raises:
        UsageProblem: it is empty, not TOML, or nested too deeply.
    """
    if not content.strip():
        raise UsageProblem(
            f"{shown}: the file is empty; a preset needs at least title, [data], [model] and "
            "[train]"
        )
    try:
        return decode_toml(content)
    except UnicodeDecodeError:
        raise UsageProblem(f"{shown}: not a text file in UTF-8; a preset is TOML") from None
    except ValueError as error:
        raise UsageProblem(f"{shown}: not valid TOML: {printable(error)}") from None


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
        raise UsageProblem(f"{where}: unknown key {parts[0]!r}{_suggest(parts[0])}")
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


def parse_preset(
    raw: dict[str, Any], name: str, where: str, changed: bool = False, stored: bool = False
) -> Preset:
    """Check the content of a preset and expand it into configurations.

    Args:
        raw: the content; claims may be removed from it, see `changed`.
        name: the preset's name, unless `raw` has one (as in an exported sweep).
        where: the file, for messages.
        changed: whether `--set` changed it. Then a claim that matches no configuration is removed
            with a note; in an unchanged file it is an error.
        stored: whether it is that of a sweep that has been started. It is then not refused because
            a learning rate is never reached, which an earlier version allowed.
    """
    for key in raw:
        if key not in TOP_LEVEL:
            raise UsageProblem(f"{where}: unknown key {printable(key)!r}{_suggest(key)}")
    texts = {key: _text(raw, key, where) for key in TEXTS}
    if not texts["title"]:
        raise UsageProblem(f"{where}: title: required: a string that names the experiment")
    check_value(raw.get("seeds", 1), PositiveInt, f"{where}: seeds")
    for table, kind in TABLES.items():
        if table == "task" and isinstance(raw.get(table), dict):
            _check_task(raw[table], where)
            continue
        _check_table(raw.get(table, {}), table, kind, where)
    configurations, notes = unfold(raw, where)
    if not stored:
        refuse_unreached(configurations, where)
    selection = read_select(raw.get("select", {}), {}, where).selection
    if changed and "claims" in raw:
        raw["claims"], idle = leave_out_idle(raw["claims"], configurations, where)
        notes = [*notes, *idle]
    if changed and "interpolation" in raw:
        raw["interpolation"], idle = leave_out_line(raw["interpolation"], configurations, where)
        notes = [*notes, *idle]
    texts["name"] = texts["name"] or name
    return Preset(
        configurations=tuple(configurations),
        claims=read_claims(raw.get("claims", []), configurations, where),
        selection=selection,
        plans=_plans(raw.get("plan", []), where),
        notes=tuple(notes),
        raw=raw,
        interpolation=read_interpolation(raw.get("interpolation", {}), configurations, where),
        judging=_judging(raw.get("judging", {}), where),
        exported=False,
        **texts,
    )


def _suggest(key: str) -> str:
    try:
        return f"; did you mean {full_key(key, '')}?"
    except UsageProblem:
        return nearest(key, TOP_LEVEL)


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


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _text(raw: dict[str, Any], key: str, where: str) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str):
        raise UsageProblem(f"{where}: {key}: expected a string, got {quoted(value)}")
    return printable(" ".join(value.split()))


def _judging(written: object, where: str) -> Judging:
    _check_table(written, "judging", Judging, where)
    return msgspec.convert(written, Judging)


def _check_table(table: object, name: str, kind: type[Table], where: str) -> None:
    if not isinstance(table, dict):
        raise UsageProblem(f"{where}: {name}: expected a table, written [{name}]")
    types = field_types(kind)
    for key, value in table.items():
        if key not in types:
            hint = nearest(key, types)
            raise UsageProblem(f"{where}: unknown key '{name}.{printable(key)}'{hint}")
        check_value(value, types[key], f"{where}: {name}.{key}")


def _check_task(table: dict[str, Any], where: str) -> None:
    """Check `[task]`, in which arguments may stand as `width = 64` too."""
    types = field_types(TaskTable)
    for key, value in table.items():
        check_value(value, types.get(key, Argument), f"{where}: task.{key}")


def _plans(written: object, where: str) -> tuple[Plan, ...]:
    try:
        return msgspec.convert(written, tuple[Plan, ...])
    except msgspec.ValidationError as error:
        raise UsageProblem(f"{where}: plan: {printable(error)}") from None

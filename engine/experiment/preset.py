"""Reads a preset file into checked settings. Every error message names the file and the key."""

import errno
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import MachineProblem, UsageProblem, nearest, printable
from batchscope.engine.errors import shown as quoted
from batchscope.engine.experiment.assignment import TEXTS as TEXTS
from batchscope.engine.experiment.assignment import TOP_LEVEL, suggestion
from batchscope.engine.experiment.assignment import assign as assign
from batchscope.engine.experiment.assignment import read_literal as read_literal
from batchscope.engine.experiment.claims import leave_out_idle, read_claims
from batchscope.engine.experiment.every_fault import every_fault, faults_of_keys
from batchscope.engine.experiment.fields import check_value, field_types
from batchscope.engine.experiment.grid import unfold
from batchscope.engine.experiment.interpolation import leave_out_idle as leave_out_line
from batchscope.engine.experiment.interpolation import read_interpolation
from batchscope.engine.experiment.preset_faults import Fault, PresetProblem, blamed
from batchscope.engine.experiment.selection import confirming, read_select
from batchscope.engine.experiment.task_settings import check_task
from batchscope.engine.experiment.toml_lines import lines_of
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
    decode_toml,
    is_damage,
    read_bytes,
)
from batchscope.engine.table import PositiveInt, Table
from batchscope.engine.task_table import Argument, TaskTable


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
    shown, content = printable(path), _content(path)
    _assigned(content, assignments, shown)

    def read(given: Sequence[str]) -> Preset:
        return _with_task(path, _assigned(content, given, shown), given, stored)

    try:
        return read(assignments)
    except UsageProblem as problem:
        if stored:
            raise
        first = str(problem).removeprefix(f"{shown}: ")

    def faults(given: Sequence[str]) -> list[str]:
        try:
            read(given)
        except UsageProblem as problem:
            text = str(problem).removeprefix(f"{shown}: ")
        else:
            return []
        try:
            raw = _assigned(content, given, shown)
        except UsageProblem:
            return [text]
        return every_fault(raw, text, shown, _parts(raw, shown))

    lines = lines_of(content.decode())
    told = [first, *(each for each in faults(assignments) if each != first)]
    found = list(blamed(told, lines, assignments, faults))
    found.sort(key=lambda fault: fault.line)  # those of --set first, which have none
    raise PresetProblem(shown, found)


def _assigned(content: bytes, assignments: Sequence[str], shown: str) -> dict[str, Any]:
    """Return the tables of a preset file with `--set` applied.

    Raises:
        PresetProblem: several assignments are malformed.
        UsageProblem: one is; or the file is not TOML.
    """
    raw = parse_toml(content, shown)
    wrong = []
    for assignment in assignments:
        try:
            assign(raw, assignment)
        except UsageProblem as problem:
            wrong.append(problem)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise PresetProblem(shown, [Fault(str(each)) for each in wrong])
    return raw


def _with_task(path: Path, raw: dict[str, Any], assignments: Sequence[str], stored: bool) -> Preset:
    """Check the content of a preset file with `--set` applied, and the task that it names."""
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
        points_from=str(own) if tasks[0].path and not named and folder.resolve() != own else "",
    )


def _is_exported(path: Path, raw: dict[str, Any]) -> bool:
    """Return whether a preset is that of an export: by its plans, its name or its neighbours."""
    beside = all(is_there(path.with_name(name)) for name in ("manifest.json", "trials.csv"))
    return "plan" in raw or path.name == "sweep.toml" or beside


def read_toml(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file; see `load_preset` for the errors."""
    return parse_toml(_content(path), printable(path))


def _content(path: Path) -> bytes:
    shown = printable(path)
    try:
        return read_bytes(path)
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
    for check in _parts(raw, where):
        check()
    texts = {key: _text(raw, key, where) for key in TEXTS}
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


def _parts(raw: dict[str, Any], where: str) -> Iterator[Callable[[], object]]:
    """Yield the checks of single keys, each of which may raise `UsageProblem`."""
    for key in raw:
        if key not in TOP_LEVEL:
            yield partial(_refuse_key, key, where)
    yield from (partial(_text, raw, key, where) for key in TEXTS)
    yield partial(_check_title, raw, where)
    yield partial(check_value, raw.get("seeds", 1), PositiveInt, f"{where}: seeds")
    for table, kind in TABLES.items():
        content = raw.get(table, {})
        if not isinstance(content, dict):
            yield partial(_check_table, content, table, kind, where)
        elif table == "task":
            yield from (partial(_check_task, {k: v}, where) for k, v in content.items())
        else:
            yield from (
                partial(_check_table, {k: v}, table, kind, where) for k, v in content.items()
            )


def key_faults(raw: dict[str, Any]) -> list[str]:
    """Return what is wrong with single keys of a preset, which may lack all others."""
    return faults_of_keys(raw, "", _parts(raw, ""))


def _refuse_key(key: str, where: str) -> None:
    raise UsageProblem(f"{where}: unknown key {printable(key)!r}{suggestion(key)}")


def _check_title(raw: dict[str, Any], where: str) -> None:
    if not _text(raw, "title", where):
        raise UsageProblem(f"{where}: title: required: a string that names the experiment")


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

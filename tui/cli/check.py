"""Checks a person's task, or those of a preset, in processes of their own; prints the table."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import UsageProblem, printable, shown
from batchscope.engine.experiment.preset import Preset, read_literal
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.experiment.task_facts_check import refuse_unknown
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.sweeps.store import home_folder
from batchscope.engine.sweeps.trust import check_preset, trust_for
from batchscope.engine.system.files import user_path
from batchscope.engine.task_table import Argument, TaskFacts, TaskTable
from batchscope.engine.tasks.reference import check_arguments, find_task
from batchscope.tui.config.settings import personal_folder
from batchscope.tui.render.ascii import json_text
from batchscope.tui.terminal.output import say

CHECK = "batchscope.engine.training.tasks.task_check"
SIGNS = {"ok": "✓", "note": "•", "wrong": "✗"}
PRESET = "the preset"


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the table, as the process tells it; `facts` has the names of the task."""

    name: str
    verdict: str
    text: str
    facts: TaskFacts | None = None


class Outcome(msgspec.Struct):
    """What the check of one task has found."""

    use: str
    measurable: bool
    checks: list[Row]


def check(words: argparse.Namespace) -> int:
    """Check the task that the options name, print what was found, and return the exit code."""
    names_preset = words.use.endswith(".toml")
    outcomes = list(_of_preset(words) if names_preset else _of_function(words))
    good = all(each.measurable for each in outcomes)
    if words.json:
        found: dict[str, Any] = {"use": words.use, "measurable": good}
        found["checks"] = [row for each in outcomes for row in each.checks]
        say(json_text(found | ({"tasks": outcomes} if names_preset else {}), sys.stdout))
    else:
        say("it can be measured" if good else "it cannot be measured as it is")
    return 0 if good else UsageProblem.exit_code


def _of_function(words: argparse.Namespace) -> Iterator[Outcome]:
    """Check `module:function` with the arguments of `--set`."""
    if words.trust:
        raise UsageProblem("--trust: only with a preset; a function that you name is run anyway")
    folder = Path(os.path.realpath(user_path(words.path or ".")))
    arguments = dict(_argument(each) for each in words.set)
    task = find_task(words.use, folder, "check")
    check_arguments(task, list(arguments), "--set")
    table = TaskTable(use=words.use, arguments=tuple(sorted(arguments.items())))
    yield Table(words, folder).check(table)


def _of_preset(words: argparse.Namespace) -> Iterator[Outcome]:
    """Check every task of a preset, and what the preset names of it."""
    if words.path:
        raise UsageProblem("--path: not with a preset; use --set task.path=DIR")
    preset = find_preset(words.use, words.set)
    tables = {each.name: each for c in preset.configurations if (each := c.settings.task)}
    if not tables:
        raise UsageProblem(
            f"{printable(words.use)}: has no [task], so it runs no code that could be checked"
        )
    home = home_folder(words.home, writes=bool(words.trust))
    if words.trust:
        trust_for(home, user_path(words.trust), preset)
    check_preset(home, preset, personal_folder())
    for name, table in tables.items():
        if len(tables) > 1 and not words.json:
            say(printable(name))
        yield Table(words, Path(preset.task_folder)).check(table, preset)


class Table:
    """Prints the table of a task, unless `--json` prints all at the end."""

    def __init__(self, words: argparse.Namespace, folder: Path) -> None:
        self._words, self._folder = words, folder
        self._rows: list[Row] = []

    def check(self, table: TaskTable, preset: Preset | None = None) -> Outcome:
        """Check a task of a folder in a process of its own, and the names that a preset has."""
        command = module_command(CHECK)
        encoded = msgspec.json.encode(table).decode()
        command += [str(self._folder), encoded, str(self._words.batch_size)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                row = msgspec.json.decode(line, type=Row)
                self._add(msgspec.structs.replace(row, facts=None))
                if row.facts is not None and preset is not None:
                    self._add(_names(preset, table.name, row.facts))
        if process.returncode not in (0, 2):
            self._add(_lost(process.returncode, self._rows))
        wrong = any(row.verdict == "wrong" for row in self._rows)
        return Outcome(table.name, process.returncode == 0 and not wrong, self._rows)

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        if not self._words.json:
            say(f"{SIGNS.get(row.verdict, '?')} {row.name:<20}  {printable(row.text)}")
            sys.stdout.flush()


def _names(preset: Preset, name: str, facts: TaskFacts) -> Row:
    """Return whether a task has the metrics and layers that a preset names."""
    try:
        refuse_unknown(preset, name, facts)
    except UsageProblem as problem:
        return Row(PRESET, "wrong", str(problem))
    return Row(PRESET, "ok", "the task has every metric and layer that it names")


def _lost(code: int, rows: list[Row]) -> Row:
    """Return the row of a process that a person's code has ended, or that the system has killed."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    after = f"after the check {rows[-1].name!r}" if rows else "before the first check"
    return Row("the task", "wrong", f"its process {how}, {after}")


def _argument(written: str) -> tuple[str, Any]:
    name, equals, text = written.partition("=")
    if not equals or not name.isidentifier():
        raise UsageProblem(f"--set {printable(written)}: expected NAME=VALUE, such as width=64")
    value = read_literal(text.strip(), f"--set {printable(written)}")
    try:
        return name, msgspec.convert(value, Argument)
    except msgspec.ValidationError:
        raise UsageProblem(f"--set {name}: expected a value, got {shown(value)}") from None

"""Checks a person's task in a process of its own, and prints the table."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.errors import UsageProblem, printable, shown
from batchscope.engine.experiment.preset import read_literal
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.files import user_path
from batchscope.engine.task_table import Argument, TaskTable
from batchscope.engine.tasks.reference import check_arguments, find_task
from batchscope.tui.render.ascii import json_text
from batchscope.tui.terminal.output import say

CHECK = "batchscope.engine.training.tasks.task_check"
SIGNS = {"ok": "✓", "note": "•", "wrong": "✗"}


class Row(msgspec.Struct, frozen=True):
    """A line of the table, as the process tells it."""

    name: str
    verdict: str
    text: str


def check(words: argparse.Namespace) -> int:
    """Check the task that the options name, print what was found, and return the exit code."""
    folder = Path(os.path.realpath(user_path(words.path or ".")))
    arguments = dict(_argument(each) for each in words.set)
    task = find_task(words.use, folder, "check")
    check_arguments(task, list(arguments), "--set")
    table = TaskTable(use=words.use, arguments=tuple(sorted(arguments.items())))
    rows = []
    command = module_command(CHECK)
    command += [str(folder), msgspec.json.encode(table).decode(), str(words.batch_size)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            rows.append(msgspec.json.decode(line, type=Row))
            if not words.json:
                say(_line(rows[-1]))
                sys.stdout.flush()
    if process.returncode not in (0, 2):
        rows.append(_lost(process.returncode, rows))
        if not words.json:
            say(_line(rows[-1]))
    good = process.returncode == 0
    if words.json:
        say(json_text({"use": words.use, "measurable": good, "checks": rows}, sys.stdout))
    else:
        say("it can be measured" if good else "it cannot be measured as it is")
    return 0 if good else UsageProblem.exit_code


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


def _line(row: Row) -> str:
    return f"{SIGNS.get(row.verdict, '?')} {row.name:<20}  {printable(row.text)}"

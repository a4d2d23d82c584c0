"""Runs the command line: reads the arguments, runs the command, ends with its exit code.

A screen is imported only when it is shown; torch is never imported.
"""

import argparse
import sys
from collections.abc import Callable

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem
from batchscope.tui.cli import run as run_command
from batchscope.tui.cli import subcommands
from batchscope.tui.cli.check import check
from batchscope.tui.cli.completion import answer
from batchscope.tui.cli.new import new
from batchscope.tui.cli.parser import build_parser, check_utf8
from batchscope.tui.cli.trust import trust
from batchscope.tui.render.ascii import prepare, wants_ascii
from batchscope.tui.terminal.output import complain, discard, open_closed, settle

ACTIONS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: run_command.run_experiment,
    "presets": subcommands.list_presets,
    "list": subcommands.list_sweeps,
    "attach": subcommands.attach,
    "compare": subcommands.compare,
    "stop": subcommands.stop,
    "pause": subcommands.pause,
    "continue": subcommands.go_on,
    "resume": subcommands.resume,
    "completion": subcommands.print_completion,
    "settings": subcommands.print_settings,
    "delete": subcommands.delete,
    "doctor": subcommands.doctor,
    "check": check,
    "new": new,
    "trust": trust,
}
SET_UP = (None, "attach", "resume", "settings")
"""The commands that read the settings file. A mistake in that file stops no other command."""


def main() -> None:
    """Run the command line and exit: the entry point of `batchscope`."""
    open_closed()
    prepare((sys.stdout, sys.stderr), ascii_only=False)
    code = _code()
    settle()
    sys.exit(code)


def _code() -> int:
    """Run the command line, print its error if there is one, and return the exit code."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except Problem as problem:
        complain(*f"batchscope: {problem}".split("\n"))  # of a preset, a line a fault
        return problem.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of stdout has closed it, so no message is printed
        discard(1)
        return 1
    except OSError as error:
        complain(f"batchscope: {error.strerror or error}")
        discard(1)
        return MachineProblem.exit_code


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name, and return its exit code.

    Raises:
        Problem: the command failed; it has the message and the exit code.
    """
    parser = build_parser()
    answer(parser)
    parser.check_words(arguments)
    words = parser.parse_args(arguments)
    check_utf8(words)
    for name in ("preset", "export", "sweep", "home", "data_dir", "device", "id"):
        if getattr(words, name, None) == "":
            shown = "ID" if name == "id" else f"--{name.replace('_', '-')}"
            raise UsageProblem(f"{shown}: expected a value, got an empty string")
    if words.command in SET_UP:
        from batchscope.tui.config.settings import apply_settings

        apply_settings(words)
    prepare((sys.stdout, sys.stderr), wants_ascii(words.ascii))
    return ACTIONS[words.command](words)


if __name__ == "__main__":
    main()

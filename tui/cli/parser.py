"""Defines the options and commands of the command line, and names the nearest one to a typo."""

import argparse
from argparse import BooleanOptionalAction as Switch
from typing import NoReturn

from batchscope import __version__
from batchscope.engine.errors import UsageProblem, nearest, printable, similar
from batchscope.tui.cli.completion import SHELLS
from batchscope.tui.terminal.output import say
from batchscope.tui.theme.themes import THEMES, check_theme


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line with the nearest valid name."""

    def error(self, message: str) -> NoReturn:
        """Raise the error that ends the program with exit code 2."""
        raise UsageProblem(f"{message} (`{self.prog} --help` shows the usage)")

    def _print_message(self, message: str, file: object = None) -> None:
        """Print help or version; argparse itself says nothing of a disk that is full."""
        say(*message.rstrip("\n").split("\n"))

    def check_words(self, arguments: list[str]) -> None:
        """Check that every option and the command exist.

        Raises:
            UsageProblem: one does not exist; the message names the nearest.
        """
        commands = self.commands
        known = {flag for parser in (self, *commands.values()) for flag in parser.flags}
        for word in arguments:
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag != "--" and flag not in known:
                raise UsageProblem(f"unknown option {printable(flag)}{similar(flag, known)}")
        first = arguments[0] if arguments else ""
        if first and not first.startswith("-") and first not in commands:
            raise UsageProblem(f"unknown command {printable(first)!r}{nearest(first, commands)}")

    @property
    def flags(self) -> list[str]:
        """Return every option of this parser."""
        return [flag for action in self._actions for flag in action.option_strings]

    @property
    def commands(self) -> "dict[str, Parser]":
        """Return the parser of each command by name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}


def check_utf8(words: argparse.Namespace) -> None:
    """Check that the values of the command line are UTF-8.

    The ID of a sweep may be any bytes, since it is the name of a folder that is there already.

    Raises:
        UsageProblem: a value is not UTF-8.
    """
    for name, value in vars(words).items():
        for word in value if isinstance(value, list) else [value]:
            lone = isinstance(word, str) and any("\ud800" <= each <= "\udfff" for each in word)
            if lone and name not in ("id", "sweep"):
                raise UsageProblem(f"{printable(word)}: not valid UTF-8")


def build_parser() -> Parser:
    """Build the parser with all options and commands of `batchscope`."""
    parser = Parser(
        prog="batchscope",
        description="A terminal lab for one question: what does batch size do to my training?",
        epilog="Without a command, batchscope opens the menu, or with --preset the board of a "
        "new sweep. Without a terminal, or with --export, it runs headless: log lines and a "
        "summary instead of a screen. Exit codes: 0 all trials finished; 1 a trial failed; "
        "2 wrong usage or wrong preset; 3 this machine lacks something, such as data, a device "
        "or disk space; 130 not finished: interrupted, stopped, or (with --sweep) still running; "
        "128 plus a signal that ended the screen.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"batchscope {__version__}")
    _add_run_options(parser)
    common = Parser(add_help=False, allow_abbrev=False)
    common.add_argument("--home", default=argparse.SUPPRESS, metavar="DIR", help=HOME_HELP)
    common.add_argument("--ascii", action=Switch, default=argparse.SUPPRESS, help=ASCII_HELP)
    screen = Parser(add_help=False, allow_abbrev=False)
    _add_screen_options(screen, argparse.SUPPRESS)
    logging = Parser(add_help=False, allow_abbrev=False)
    logging.add_argument(
        "--log-format", choices=("text", "json"), default=argparse.SUPPRESS, help=LOG_HELP
    )
    logging.add_argument(*QUIET, action="store_true", default=argparse.SUPPRESS, help=QUIET_HELP)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, does: str, *parents: Parser) -> Parser:
        sentence = f"{does[0].upper()}{does[1:]}."
        return commands.add_parser(name, parents=list(parents), help=does, description=sentence)

    def as_json(of: Parser, help_text: str) -> None:
        of.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=help_text)

    command("presets", "list the presets that ship with batchscope", common)
    listing = command("list", "list the stored sweeps", common)
    as_json(listing, "print the list as JSON")
    attach = command("attach", "open a running or stored sweep", common, logging, screen)
    attach.add_argument(
        "id", nargs="?", metavar="ID", help=f"{ID_HELP} (default: the one running, else the newest)"
    )
    attach.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="ID",
        help="draw the curves of another sweep over the charts; can be repeated",
    )
    compare = command("compare", "compare two sweeps or exports", common)
    for name, dest in (("A", "one"), ("B", "other")):
        compare.add_argument(
            dest,
            metavar=name,
            help="the folder of an export, or the ID of a stored sweep, or a part of it",
        )
    as_json(compare, "print the comparison as one JSON object")
    compare.add_argument(
        "--figure", metavar="FILE", help="draw the differences into FILE (*.svg or *.png)"
    )
    stop = command("stop", "stop a running sweep; it can be resumed", common)
    stop.add_argument("id", nargs="?", metavar="ID", help=ID_HELP)
    stop.add_argument("--all", action="store_true", help="stop every running sweep")
    for name, does in (
        ("pause", "pause a running sweep"),
        ("continue", "continue a paused sweep"),
    ):
        holding = command(name, does, common)
        holding.add_argument("id", metavar="ID", help=ID_HELP)
    resume = command("resume", "resume a stopped sweep and follow it headless", common, logging)
    resume.add_argument("id", metavar="ID", help=ID_HELP)
    resume.add_argument("--trust", metavar="DIR", help=TRUST_HELP)
    resume.add_argument("--accept-code", action="store_true", help=ACCEPT_HELP)
    as_json(resume, JSON_HELP)
    command("settings", "print the settings file and what each key does", common)
    delete = command("delete", "delete a stored sweep from disk", common)
    delete.add_argument("id", metavar="ID", help="the complete ID of the sweep")
    delete.add_argument(
        "--yes", action="store_true", help="delete it; without --yes only its size is shown"
    )
    completion = command("completion", "print a shell script that completes commands and options")
    completion.add_argument("shell", choices=SHELLS, help="the shell to print it for")
    doctor = command("doctor", "check what batchscope finds on this machine", common)
    as_json(doctor, "print the checks as one JSON object")
    trusting = command("trust", "list, add or remove the folders that code is run from", common)
    trusting.add_argument("folder", nargs="?", metavar="DIR", help="the folder to trust")
    trusting.add_argument("--revoke", action="store_true", help="trust DIR no longer")
    check = command("check", "run your own task and tell whether it can be measured", common)
    check.description = CHECK_TEXT
    check.add_argument(
        "use",
        metavar="MODULE:FUNCTION|PRESET.toml",
        help="the function that makes the task, or a preset with [task], whose arguments are used "
        "and whose names of metrics and layers are checked, too",
    )
    check.add_argument("--path", metavar="DIR", help="folder of the module (default: this one)")
    check.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the function, such as width=64; repeatable. With a preset: any key "
        "of it, such as task.width=64",
    )
    check.add_argument("--trust", metavar="DIR", help=TRUST_HELP)
    check.add_argument(
        "--batch-size", type=_positive, default=32, metavar="N", help="samples of the batch to try"
    )
    as_json(check, "print the checks as one JSON object")
    new = command("new", "write a small task of your own and its preset, which run as they are")
    new.add_argument(
        "file", metavar="FILE", help="the file to write, such as mine.py; mine.toml comes beside it"
    )
    return parser


CHECK_TEXT = (
    "Run your own task and tell whether it can be measured. This runs the code that you name here, "
    "whether you trust its folder or not, as python would; it does not trust the folder for "
    "presets. A preset names code itself, so its folder must be trusted. Code that others may "
    "write to is not run."
)
ID_HELP = "ID of a stored sweep, or any part of it that fits only this sweep"
HOME_HELP = "folder for sweeps and data (default: $BATCHSCOPE_HOME, else the state folder)"
ASCII_HELP = "use ASCII characters only (default: if the locale is not UTF-8)"
ON_HELP = "train on a Ray cluster: ray (started here), auto (this node's) or ray://HOST:PORT"
CHECKPOINTS_HELP = "with --on: a folder or URL for checkpoints that every node can reach"
SHARE_HELP = "with --on: the fraction of a GPU that each worker reserves (default: 1)"
LOG_HELP = "format of the log lines on stderr (default: text)"
QUIET = ("-q", "--quiet")
QUIET_HELP = "log only warnings and errors, show no progress; the summary is still printed"
TENSORBOARD_HELP = "with --export: also write TensorBoard event files (batchscope[tensorboard])"
WEIGHTS_HELP = "with --export: also copy the final weights, if run.keep_weights was set at launch"
TRUST_HELP = "trust DIR, and run the code of a preset with [task] from there"
ACCEPT_HELP = "go on although the code of [task] was changed, and mark the trials that it trains"
JSON_HELP = "print the summary as one JSON object"


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", metavar="NAME|FILE", help="the preset to run, by name or by file")
    add("--export", metavar="DIR", help="run headless and write the results to DIR")
    add(
        "--sweep",
        metavar="ID",
        help="with --export: export a stored sweep (its ID or a part), run nothing",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the preset, such as train.lr=0.1; can be repeated",
    )
    add("--on", metavar="CLUSTER", help=ON_HELP)
    add("--checkpoints", metavar="DIR|URL", help=CHECKPOINTS_HELP)
    add("--gpu-share", type=_share, metavar="SHARE", help=SHARE_HELP)
    add("--device", metavar="DEVICE", help="auto (default), cpu, cuda or a list: cuda:0,cuda:1")
    add("--workers", type=_positive, metavar="N", help="number of trials trained at the same time")
    add("--memory-limit", type=_size, metavar="SIZE", help="memory limit per device, such as 2GiB")
    add("--data-dir", metavar="DIR", help="folder with the images, in torchvision's layout")
    add("--trust", metavar="DIR", help=TRUST_HELP)
    add("--home", metavar="DIR", help=HOME_HELP)
    add("--log-format", choices=("text", "json"), help=LOG_HELP)
    add(*QUIET, action="store_true", help=QUIET_HELP)
    add("--json", action="store_true", help=JSON_HELP)
    add("--ascii", action=Switch, help=ASCII_HELP)
    _add_screen_options(parser)
    add("--tensorboard", action="store_true", help=TENSORBOARD_HELP)
    add("--weights", action="store_true", help=WEIGHTS_HELP)
    add(
        "--overwrite",
        action="store_true",
        help="with --export: also write into DIR if it holds other files",
    )
    add("--no-report", action="store_true", help="with --export: no report.html and no figures/")


def _add_screen_options(parser: argparse.ArgumentParser, default: object = None) -> None:
    """Add the options of the screen.

    Args:
        parser: receives the options.
        default: `argparse.SUPPRESS` for a command, so that the value given before it is kept.
    """
    add = parser.add_argument
    names = ", ".join(THEMES)
    add("--theme", type=_theme, default=default, metavar="NAME", help=f"colour theme: {names}")
    add("--mouse", action=Switch, default=default, help="use the mouse (default: yes)")


def _theme(text: str) -> str:
    try:
        return check_theme(text)
    except UsageProblem as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not (0 < share < 1 or (1 <= share <= 64 and share.is_integer())):
        raise argparse.ArgumentTypeError(
            f"expected a part of a GPU, such as 0.5, or a whole number up to 64, got {text!r}"
        )
    return share


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _size(text: str) -> int:
    from batchscope.engine.formatting import parse_size

    try:
        return parse_size(text)
    except UsageProblem as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None

"""What can be said on the command line: options, commands, and the nearest name to a slip."""

import argparse
from argparse import BooleanOptionalAction as Switch
from typing import NoReturn

from batchscope import __version__
from batchscope.engine.errors import UsageProblem, nearest, printable, similar
from batchscope.tui.cli.completion import SHELLS
from batchscope.tui.theme.themes import THEMES, check_theme


class Parser(argparse.ArgumentParser):
    """argparse with one line for a mistake, and the nearest valid name in it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with exit code 2."""
        raise UsageProblem(f"{message} (`{self.prog} --help` shows the usage)")

    def check_words(self, arguments: list[str]) -> None:
        """Refuse an option or a command that does not exist, naming the nearest that does."""
        commands = self.commands
        known = {flag for parser in (self, *commands.values()) for flag in parser.flags}
        for word in arguments:
            if any("\ud800" <= character <= "\udfff" for character in word):
                raise UsageProblem(f"{printable(word)}: is not valid UTF-8")
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag != "--" and flag not in known:
                raise UsageProblem(f"unknown option {printable(flag)}{similar(flag, known)}")
        first = arguments[0] if arguments else ""
        if first and not first.startswith("-") and first not in commands:
            raise UsageProblem(f"unknown command {printable(first)!r}{nearest(first, commands)}")

    @property
    def flags(self) -> list[str]:
        """Every option of this parser."""
        return [flag for action in self._actions for flag in action.option_strings]

    @property
    def commands(self) -> "dict[str, Parser]":
        """The parsers of the commands, by name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}


def build_parser() -> Parser:
    """The options and commands of `batchscope`."""
    parser = Parser(
        prog="batchscope",
        description="A terminal lab for one question: what does batch size do to my training?",
        epilog="Without a command: the menu, or the board on --preset. Without a terminal, or "
        "with --export: headless. Exit codes: 0 all trials finished; 1 some failed; 2 wrong "
        "usage or preset; 3 the machine lacks something; 130 not finished: interrupted or "
        "stopped, or with --sweep still running.",
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
    commands.add_parser("presets", parents=[common], help="list the experiments that come along")
    listing = commands.add_parser("list", parents=[common], help="list the stored sweeps")
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    attach = commands.add_parser(
        "attach", parents=[common, logging, screen], help="return to a sweep (the newest, or ID)"
    )
    attach.add_argument("id", nargs="?")
    attach.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="ID",
        help="lay the curves of another sweep over it; may be given again",
    )
    compare = commands.add_parser(
        "compare", parents=[common], help="set one sweep or export beside another"
    )
    for name, dest in (("A", "one"), ("B", "other")):
        compare.add_argument(
            dest, metavar=name, help="the folder of an export, or the ID of a stored sweep"
        )
    compare.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    compare.add_argument("--figure", metavar="FILE", help="draw the difference, as *.svg or *.png")
    stop = commands.add_parser("stop", parents=[common], help="stop a sweep; it can be resumed")
    stop.add_argument("id", nargs="?")
    stop.add_argument("--all", action="store_true", help="every sweep that runs")
    for name, does in (
        ("pause", "hold a running sweep still"),
        ("continue", "go on with a sweep that is paused"),
    ):
        holding = commands.add_parser(name, parents=[common], help=does)
        holding.add_argument("id")
    resume = commands.add_parser(
        "resume", parents=[common, logging], help="go on with a sweep, without a screen"
    )
    resume.add_argument("id")
    resume.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=JSON_HELP)
    commands.add_parser(
        "settings", parents=[common], help="print the settings file, with what each key does"
    )
    delete = commands.add_parser(
        "delete", parents=[common], help="delete a stored sweep; ID must be whole"
    )
    delete.add_argument("id")
    delete.add_argument("--yes", action="store_true", help="do it: there is no way back")
    completion = commands.add_parser("completion", help="print a script that completes words")
    completion.add_argument("shell", choices=SHELLS, help="the shell that is to read it")
    doctor = commands.add_parser("doctor", parents=[common], help="what is seen of this machine")
    doctor.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    return parser


HOME_HELP = "where sweeps and data are kept (default: $BATCHSCOPE_HOME or the state folder)"
ASCII_HELP = "write and draw in ASCII alone (default: where the locale is not UTF-8)"
ON_HELP = "train on a Ray cluster: ray (started here), auto (this node's) or ray://HOST:PORT"
CHECKPOINTS_HELP = "with --on: the folder or URL for checkpoints that every node can reach"
SHARE_HELP = "with --on: the part of a GPU that each worker asks for (default: 1)"
LOG_HELP = "log lines on stderr as text or as JSON objects"
QUIET = ("-q", "--quiet")
QUIET_HELP = "no log lines but warnings and errors, and no progress; the summary stays"
TENSORBOARD_HELP = "with --export: TensorBoard's event files as well (batchscope[tensorboard])"
JSON_HELP = "the summary as one JSON object"


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", metavar="NAME|FILE", help="the experiment to run")
    add("--export", metavar="DIR", help="run headless and write the results to DIR")
    add("--sweep", metavar="ID", help="with --export: take a stored sweep instead of running one")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the preset"
    )
    add("--on", metavar="CLUSTER", help=ON_HELP)
    add("--checkpoints", metavar="DIR|URL", help=CHECKPOINTS_HELP)
    add("--gpu-share", type=_share, metavar="SHARE", help=SHARE_HELP)
    add("--device", metavar="DEVICE", help="cpu, cuda:0,cuda:1 or auto (default)")
    add("--workers", type=_positive, metavar="N", help="how many trials train at once")
    add("--memory-limit", type=_size, metavar="SIZE", help="most memory of a device, such as 2GiB")
    add("--data-dir", metavar="DIR", help="read the images from here (torchvision's layout)")
    add("--home", metavar="DIR", help=HOME_HELP)
    add("--log-format", choices=("text", "json"), help=LOG_HELP)
    add(*QUIET, action="store_true", help=QUIET_HELP)
    add("--json", action="store_true", help=JSON_HELP)
    add("--ascii", action=Switch, help=ASCII_HELP)
    _add_screen_options(parser)
    add("--tensorboard", action="store_true", help=TENSORBOARD_HELP)
    add("--overwrite", action="store_true", help="let --export replace what DIR holds")
    add("--no-report", action="store_true", help="export without report.html and figures/")


def _add_screen_options(parser: argparse.ArgumentParser, default: object = None) -> None:
    """What the screen looks like; an option of a command without one leaves that of the program."""
    add = parser.add_argument
    names = ", ".join(THEMES)
    add("--theme", type=_theme, default=default, metavar="NAME", help=f"the colours: {names}")
    add("--mouse", action=Switch, default=default, help="clicks and the wheel (default), or none")


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
        raise argparse.ArgumentTypeError(f"expected a part of a GPU, such as 0.5, got {text!r}")
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

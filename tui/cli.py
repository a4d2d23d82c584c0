"""The command line. A screen is imported only when one is wanted, and torch never."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from engine import __version__
from engine.problems import MachineProblem, Problem, UsageProblem, nearest, printable, similar

if TYPE_CHECKING:
    from engine.catalog import Launch
    from engine.reading import Preset

DEFAULT_PRESET = "quickstart"
STOP_PATIENCE_SECONDS = 30.0


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
        "usage or preset; 3 the machine lacks something; 130 interrupted, resumable.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"batchscope {__version__}")
    _add_run_options(parser)
    common = Parser(add_help=False, allow_abbrev=False)
    common.add_argument("--home", default=argparse.SUPPRESS, metavar="DIR", help=HOME_HELP)
    logging = Parser(add_help=False, allow_abbrev=False)
    logging.add_argument(
        "--log-format", choices=("text", "json"), default=argparse.SUPPRESS, help=LOG_HELP
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands.add_parser("presets", parents=[common], help="list the experiments that come along")
    listing = commands.add_parser("list", parents=[common], help="list the stored sweeps")
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    attach = commands.add_parser(
        "attach", parents=[common, logging], help="return to a sweep (the newest, or ID)"
    )
    attach.add_argument("id", nargs="?")
    stop = commands.add_parser("stop", parents=[common], help="stop a sweep; it can be resumed")
    stop.add_argument("id", nargs="?")
    stop.add_argument("--all", action="store_true", help="every sweep that runs")
    resume = commands.add_parser(
        "resume", parents=[common, logging], help="go on with a sweep, without a screen"
    )
    resume.add_argument("id")
    doctor = commands.add_parser("doctor", parents=[common], help="what is seen of this machine")
    doctor.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    return parser


HOME_HELP = "where sweeps and data are kept (default: $BATCHSCOPE_HOME or the state folder)"
LOG_HELP = "log lines on stderr as text or as JSON objects"


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", metavar="NAME|FILE", help="the experiment to run")
    add("--export", metavar="DIR", help="run headless and write the results to DIR")
    add("--sweep", metavar="ID", help="with --export: take a stored sweep instead of running one")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the preset"
    )
    add("--device", default="auto", metavar="DEVICE", help="cpu, cuda:0,cuda:1 or auto (default)")
    add("--workers", type=_positive, metavar="N", help="how many trials train at once")
    add("--memory-limit", type=_size, metavar="SIZE", help="most memory of a device, such as 2GiB")
    add("--data-dir", metavar="DIR", help="read the images from here (torchvision's layout)")
    add("--home", metavar="DIR", help=HOME_HELP)
    add("--log-format", choices=("text", "json"), default="text", help=LOG_HELP)
    add("--json", action="store_true", help="the summary as one JSON object")
    add("--overwrite", action="store_true", help="let --export replace what DIR holds")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _size(text: str) -> int:
    from engine.sizes import parse_size

    try:
        return parse_size(text)
    except UsageProblem as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def main() -> None:
    """Entry point of the command `batchscope`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding without ± must not end the program
            stream.reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except Problem as problem:
        print(f"batchscope: {problem}", file=sys.stderr)
        code = problem.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of stdout went away: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except OSError as error:
        print(f"batchscope: {printable(error.strerror or error)}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what stdout holds back stays unwritten
        code = MachineProblem.exit_code
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Do what the words say; returns the exit code.

    Raises:
        Problem: with the message for the person and its exit code.
    """
    parser = build_parser()
    parser.check_words(arguments)
    words = parser.parse_args(arguments)
    for name in ("preset", "export", "sweep", "home", "data_dir", "device", "id"):
        if getattr(words, name, None) == "":
            raise UsageProblem(f"--{name.replace('_', '-')}: expected a value, got an empty one")
    actions: dict[str | None, Callable[[argparse.Namespace], int]] = {
        None: _run,
        "presets": _presets,
        "list": _list,
        "attach": _attach,
        "stop": _stop,
        "resume": _resume,
        "doctor": _doctor,
    }
    return actions[words.command](words)


def _run(words: argparse.Namespace) -> int:
    from engine.catalog import Launch, find_preset, home_folder
    from engine.disk import user_path

    if words.sweep:
        return _export_stored(words)
    screen = _has_terminal() and not words.export
    preset = None
    if words.preset or words.set or not screen:
        preset = find_preset(words.preset or DEFAULT_PRESET, words.set)
    _check_machine(words)
    home = home_folder(words.home)
    launch = Launch(
        preset=preset.name if preset else "",
        device=words.device,
        workers=words.workers,
        data_dir=str(user_path(words.data_dir)) if words.data_dir else None,
        memory_limit=words.memory_limit,
    )
    if screen:
        return _screen(home, preset=preset, launch=launch)
    assert preset is not None
    return _headless(words, home, preset, launch)


def _check_machine(words: argparse.Namespace) -> None:
    """Refuse a device or a data folder that is not there before anything is started."""
    from engine.disk import is_folder, user_path

    if words.data_dir and not is_folder(user_path(words.data_dir)):
        raise UsageProblem(f"--data-dir {printable(words.data_dir)}: no such folder")
    if words.device not in ("auto", "cpu"):
        from engine.devices import choose_devices

        choose_devices(words.device)


def _headless(words: argparse.Namespace, home: Path, preset: "Preset", launch: "Launch") -> int:
    from engine.catalog import create_sweep
    from engine.export.bundle import check_target, write_export
    from engine.launching import start_conductor
    from tui import headless

    log = headless.Log(words.log_format)
    if not words.export:
        log.say(f"no terminal: running {preset.name} headless")
    if words.export:
        check_target(_target(words.export), None, words.overwrite)
    folder = create_sweep(home, preset, launch)
    log.say(f"sweep {folder.name}; `batchscope attach {folder.name}` watches it")
    with headless.interruption() as interrupted:
        start_conductor(folder)
        follower = headless.Follower(folder, log)
        code, state = headless.follow(follower, log, True, interrupted)
    if code == headless.INTERRUPTED:
        log.say(f"`batchscope resume {folder.name}` goes on with it", "warning")
        return code
    target = _target(words.export) if words.export else folder / "export"
    try:
        write_export(folder, target)
    except MachineProblem as problem:
        again = f"`batchscope --export DIR --sweep {folder.name}` writes it elsewhere"
        raise MachineProblem(f"{problem}; the sweep is kept: {again}") from None
    _print_summary(headless.summary(folder, state, target), words.json)
    return code


def _export_stored(words: argparse.Namespace) -> int:
    from engine.catalog import find_sweep, home_folder
    from engine.export.bundle import check_target, write_export
    from tui import headless

    if not words.export:
        raise UsageProblem("--sweep ID goes with --export DIR; `attach ID` opens the board")
    if words.preset or words.set:
        raise UsageProblem("--sweep takes a stored sweep: leave out --preset and --set")
    folder = find_sweep(home_folder(words.home), words.sweep)
    target = _target(words.export)
    check_target(target, folder.name, words.overwrite)
    state = write_export(folder, target)
    _print_summary(headless.summary(folder, state, target), words.json)
    return headless.exit_code(state)


def _target(written: str) -> Path:
    """The folder of an export; a link stands for the folder that it leads to."""
    return Path(os.path.realpath(written))


def _print_summary(of: "dict[str, object]", as_json: bool) -> None:
    from tui.headless import summary_text

    print(msgspec.json.encode(of).decode() if as_json else summary_text(of))


def _presets(words: argparse.Namespace) -> int:
    from engine.catalog import preset_files
    from engine.reading import load_preset

    files = preset_files()
    width = max(len(name) for name in files)
    for name, path in files.items():
        preset = load_preset(path)
        print(f"{name:<{width}}  {preset.trial_count:>4} trials  {preset.title}")
    return 0


def _list(words: argparse.Namespace) -> int:
    from engine.catalog import home_folder, stored_sweeps

    sweeps = stored_sweeps(home_folder(words.home))
    if words.json:
        print(msgspec.json.encode(sweeps).decode())
        return 0
    width = max((len(sweep.id) for sweep in sweeps), default=0)
    for sweep in sweeps:
        done = f"{sweep.finished}/{sweep.trials}"
        print(f"{sweep.id:<{width}}  {sweep.state:<11}  {done:>9} trials  {sweep.title}")
    if not sweeps:
        print("no sweep is stored yet", file=sys.stderr)
    return 0


def _attach(words: argparse.Namespace) -> int:
    from engine.catalog import find_sweep, home_folder

    home = home_folder(words.home)
    folder = find_sweep(home, words.id)
    if _has_terminal():
        return _screen(home, sweep=folder)
    from tui import headless

    log = headless.Log(words.log_format)
    with headless.interruption() as interrupted:
        return headless.follow(headless.Follower(folder, log), log, False, interrupted)[0]


def _stop(words: argparse.Namespace) -> int:
    from engine import commands
    from engine.catalog import conductor_lives, find_sweep, home_folder, sweep_folders
    from engine.launching import wait_until_free

    home = home_folder(words.home)
    if words.all == bool(words.id):
        raise UsageProblem("stop: name one sweep, or --all")
    folders = sweep_folders(home) if words.all else [find_sweep(home, words.id)]
    living = [folder for folder in folders if conductor_lives(folder)]
    for folder in living:
        commands.send(folder, commands.Stop())
    code = 0
    for folder in living:
        if wait_until_free(folder, STOP_PATIENCE_SECONDS):
            print(f"{folder.name}: stopped; `batchscope resume {folder.name}` goes on with it")
        else:
            print(f"{folder.name}: has not stopped yet", file=sys.stderr)
            code = 1
    if not living:
        print("no sweep is running" if words.all else f"{folders[0].name}: is not running")
    return code


def _resume(words: argparse.Namespace) -> int:
    from engine.catalog import conductor_lives, find_sweep, home_folder, load_state
    from engine.launching import start_conductor
    from tui import headless

    folder = find_sweep(home_folder(words.home), words.id)
    state = load_state(folder)
    log = headless.Log(words.log_format)
    alive = conductor_lives(folder)
    if not alive and state.trials and all(trial.done for trial in state.trials.values()):
        print(f"{folder.name}: is finished; nothing is left to resume", file=sys.stderr)
        return 0
    follower = headless.Follower(folder, log)
    follower.catch_up(quietly=True)
    with headless.interruption() as interrupted:
        if not alive:
            start_conductor(folder)
        code, state = headless.follow(follower, log, not alive, interrupted)
    if code != headless.INTERRUPTED:
        _print_summary(headless.summary(folder, state, None), False)
    return code


def _doctor(words: argparse.Namespace) -> int:
    from tui import doctor

    return doctor.run(words.home, words.json)


def _has_terminal() -> bool:
    """Whether a board can be drawn: a screen to write on and a keyboard to read."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def _screen(
    home: Path,
    preset: "Preset | None" = None,
    launch: "Launch | None" = None,
    sweep: Path | None = None,
) -> int:
    from tui.app import BatchscopeApp

    app = BatchscopeApp(home, preset=preset, launch=launch, sweep=sweep)
    farewell = app.run()
    if app.failure:
        raise app.failure
    if farewell:
        print(farewell)
    return app.return_code or 0


if __name__ == "__main__":
    main()

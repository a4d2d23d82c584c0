"""An experiment from the command line: on the board, or headless with its results in a folder."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.problems import MachineProblem, Problem, UsageProblem, printable
from tui.starting import has_terminal, show_screen

if TYPE_CHECKING:
    from engine.catalog import Launch
    from engine.reading import Preset

DEFAULT_PRESET = "quickstart"


def run_experiment(words: argparse.Namespace) -> int:
    """Run the preset that the words name, or export the sweep; returns the exit code."""
    from engine.catalog import Launch, find_preset, home_folder
    from engine.disk import user_path

    if words.sweep:
        return _export_stored(words)
    screen = has_terminal() and not words.export
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
        return show_screen(home, words.settings, preset=preset, launch=launch)
    assert preset is not None
    return _headless(words, home, preset, launch)


def _check_machine(words: argparse.Namespace) -> None:
    """Refuse a device or a data folder that is not there before anything is started."""
    from engine.disk import is_folder, user_path
    from tui.settings import place_of

    if words.data_dir and not is_folder(user_path(words.data_dir)):
        where = place_of(words, "data_dir")
        raise UsageProblem(f"{where} {printable(words.data_dir)}: no such folder")
    if words.device not in ("auto", "cpu"):
        from engine.devices import choose_devices

        try:
            choose_devices(words.device)
        except Problem as problem:
            told = str(problem).removeprefix("--device")
            raise type(problem)(place_of(words, "device") + told) from None


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
        write_export(folder, target, not words.no_report)
    except MachineProblem as problem:
        again = f"`batchscope --export DIR --sweep {folder.name}` writes it elsewhere"
        raise MachineProblem(f"{problem}; the sweep is kept: {again}") from None
    print_summary(headless.summary(folder, state, target), words.json)
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
    state = write_export(folder, target, not words.no_report)
    print_summary(headless.summary(folder, state, target), words.json)
    return headless.exit_code(state)


def _target(written: str) -> Path:
    """The folder of an export; a link stands for the folder that it leads to."""
    return Path(os.path.realpath(written))


def print_summary(of: "dict[str, object]", as_json: bool) -> None:
    """The summary on stdout, for a person or as one JSON object."""
    from tui.headless import summary_text
    from tui.plain import json_text

    print(json_text(of, sys.stdout) if as_json else summary_text(of))

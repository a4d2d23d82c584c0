"""The commands for presets, stored sweeps and this machine: list, attach, stop, delete, doctor."""

import argparse
import shutil
import sys
import time
from typing import TYPE_CHECKING

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.formatting import shown_size
from batchscope.tui.cli.run import print_summary
from batchscope.tui.start import has_terminal, show_screen
from batchscope.tui.terminal.output import complain, say

if TYPE_CHECKING:
    pass

STOP_PATIENCE_SECONDS = 30.0


def list_presets(words: argparse.Namespace) -> int:
    """Print the presets that ship with batchscope, with their numbers of trials in all."""
    from batchscope.engine.experiment.preset import load_preset
    from batchscope.engine.experiment.preset_catalog import preset_files

    files = preset_files()
    width = max(len(name) for name in files)
    for name, path in files.items():
        preset = load_preset(path)
        count = preset.trial_count + preset.trials_after_choice
        say(f"{name:<{width}}  {count:>4} trials  {preset.title}")
    return 0


def list_sweeps(words: argparse.Namespace) -> int:
    """Print the stored sweeps, newest first, as lines or as JSON."""
    from batchscope.engine.sweeps.listing import stored_sweeps
    from batchscope.engine.sweeps.store import home_folder
    from batchscope.tui.cli.sweep_table import plain_lines, table_lines
    from batchscope.tui.render.ascii import json_text

    home = home_folder(words.home, writes=False)
    sweeps = stored_sweeps(home)
    if words.json:
        say(json_text(sweeps, sys.stdout))
        return 0
    if sys.stdout.isatty():
        say(*table_lines(sweeps, shutil.get_terminal_size().columns))
    else:
        say(*plain_lines(sweeps))
    if not sweeps:
        complain(f"no sweeps are stored in {home}")
    return 0


def attach(words: argparse.Namespace) -> int:
    """Open a sweep's board, or without a terminal follow it as log lines."""
    from batchscope.engine.sweeps.store import find_sweep, home_folder

    home = home_folder(words.home, writes=False)
    folder = find_sweep(home, words.id)
    if "" in words.overlay:
        raise UsageProblem("--overlay: expected a value, got an empty string")
    others = [find_sweep(home, name) for name in words.overlay]
    if has_terminal():
        return show_screen(home, words.settings, sweep=folder, others=others)
    if others:
        raise UsageProblem("--overlay: draws on the board, which needs a terminal")
    from batchscope.tui.headless import follower as headless

    log = headless.open_log(words, folder.name)
    with headless.interruption() as interrupted:
        return headless.follow(headless.HeadlessFollower(folder, log), log, False, interrupted)[0]


def compare(words: argparse.Namespace) -> int:
    """Compare two sweeps or exports."""
    from batchscope.tui.cli.compare import run

    return run(words)


def stop(words: argparse.Namespace) -> int:
    """Stop one sweep, or every running sweep."""
    from batchscope.engine.sweeps.launcher import ask_to_stop, wait_until_free
    from batchscope.engine.sweeps.store import (
        conductor_lives,
        find_sweep,
        home_folder,
        sweep_folders,
    )

    home = home_folder(words.home)
    if words.all == bool(words.id):
        raise UsageProblem("stop: expected either the ID of a sweep or --all")
    folders = sweep_folders(home) if words.all else [find_sweep(home, words.id)]
    living = [folder for folder in folders if conductor_lives(folder)]
    for folder in living:
        ask_to_stop(folder)
    code = 0
    for folder in living:
        if wait_until_free(folder, STOP_PATIENCE_SECONDS):
            say(f"{folder.name}: stopped; resume it with `batchscope resume {folder.name}`")
        else:
            patience = f"{STOP_PATIENCE_SECONDS:.0f} s"
            complain(f"{folder.name}: still running {patience} after the request")
            code = 1
    if not living:
        say("no sweep is running" if words.all else f"{folders[0].name}: not running")
    return code


def pause(words: argparse.Namespace) -> int:
    """Pause a running sweep."""
    return _set_paused(words, True, "paused; continue it with `batchscope continue {0}`")


def go_on(words: argparse.Namespace) -> int:
    """Continue a paused sweep."""
    return _set_paused(words, False, "running; watch it with `batchscope attach {0}`")


def _set_paused(words: argparse.Namespace, paused: bool, sentence: str) -> int:
    """Send the conductor a command to pause or continue, and wait until the journal has it."""
    from batchscope.engine.sweeps import commands
    from batchscope.engine.sweeps.store import conductor_lives, find_sweep, home_folder
    from batchscope.tui.headless import follower as headless
    from batchscope.tui.headless.log_lines import Log

    folder = find_sweep(home_folder(words.home), words.id)
    if not conductor_lives(folder):
        say(f"{folder.name}: not running")
        return 0
    follower = headless.HeadlessFollower(folder, Log("text"))
    commands.send(folder, commands.Pause() if paused else commands.Continue())
    deadline = time.monotonic() + STOP_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        alive = conductor_lives(folder)
        follower.catch_up(quietly=True)
        if alive and (follower.state.paused_at is not None) == paused:
            say(f"{folder.name}: {sentence.format(folder.name)}")
            return 0
        if not alive:
            what = "paused" if paused else "continued"
            complain(f"{folder.name}: ended before it was {what}")
            return 1
        time.sleep(headless.POLL_SECONDS)
    patience = f"{STOP_PATIENCE_SECONDS:.0f} s"
    complain(f"{folder.name}: no answer from the sweep within {patience}")
    return 1


def resume(words: argparse.Namespace) -> int:
    """Resume a stopped sweep, or follow a running one, as log lines."""
    from batchscope.engine.analysis.completeness import complete
    from batchscope.engine.sweeps.commands import AcceptCode
    from batchscope.engine.sweeps.launcher import LOG, journal_size, start_conductor
    from batchscope.engine.sweeps.store import conductor_lives, find_sweep, home_folder, load_state
    from batchscope.engine.sweeps.trust import trust_for_sweep
    from batchscope.engine.system.files import is_there, user_path
    from batchscope.tui.headless import follower as headless
    from batchscope.tui.headless.summary import summary

    home = home_folder(words.home)
    folder = find_sweep(home, words.id)
    alive = conductor_lives(folder)
    if words.accept_code and alive:
        raise UsageProblem(
            f"--accept-code: {folder.name} is running; stop it first with "
            f"`batchscope stop {folder.name}`"
        )
    if words.trust:
        trust_for_sweep(folder, user_path(words.trust))
    state = load_state(folder)
    if not alive and complete(state):
        if not words.quiet:
            complain(f"{folder.name}: all trials are done, nothing to resume")
        if words.json:
            print_summary(summary(folder, state, None), True)
        return 0
    log = headless.open_log(words, folder.name)
    follower = headless.HeadlessFollower(folder, log)
    follower.catch_up(quietly=True)
    with headless.interruption() as interrupted:
        if not alive:
            if journal_size(folder) < 0 and is_there(folder / LOG):
                lost = "no journal is there, so all of its trials are trained from the start"
                log.say("no-journal", lost, "warning")
            start_conductor(folder, *([AcceptCode()] if words.accept_code else []))
        elif follower.state.paused_at is not None:
            paused = f"paused; continue it with `batchscope continue {folder.name}`"
            log.say("paused", paused, "warning")
        code, state = headless.follow(follower, log, not alive, interrupted)
    if code != headless.INTERRUPTED:
        print_summary(summary(folder, state, None), words.json)
    return code


def print_settings(words: argparse.Namespace) -> int:
    """Print a settings file with every key, its meaning and its current value."""
    from batchscope.tui.config.settings import settings_path
    from batchscope.tui.config.settings_file import annotated

    say(*annotated(words.settings, settings_path()).split("\n"))
    return 0


def delete(words: argparse.Namespace) -> int:
    """Delete a stored sweep. It needs the complete ID and `--yes`."""
    from batchscope.engine.sweeps.deletion import delete_sweep
    from batchscope.engine.sweeps.listing import describe
    from batchscope.engine.sweeps.store import find_sweep, home_folder

    folder = find_sweep(home_folder(words.home), words.id)
    if folder.name != words.id:
        raise UsageProblem(
            f"delete {printable(words.id)}: expected the complete ID; did you mean {folder.name!r}?"
        )
    sweep = describe(folder)
    what = f"{sweep.id}: {sweep.finished} of {sweep.trials} trials, {shown_size(sweep.bytes)}"
    if not words.yes:
        raise UsageProblem(f"{what}; add --yes to delete it for good")
    delete_sweep(folder)
    say(f"{what}: deleted")
    return 0


def print_completion(words: argparse.Namespace) -> int:
    """Print the script that lets a shell complete commands, options and names."""
    from batchscope.tui.cli.completion import script

    say(*script(words.shell).split("\n"))
    return 0


def doctor(words: argparse.Namespace) -> int:
    """Check what batchscope finds on this machine."""
    from batchscope.tui.cli.doctor import run

    return run(words.home, words.json)

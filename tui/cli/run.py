"""Runs a preset from the command line: on the board, or headless with the results in a folder."""

import argparse
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem, printable
from batchscope.tui.start import has_terminal, show_screen
from batchscope.tui.terminal.output import say

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from batchscope.engine.experiment.preset import Preset
    from batchscope.engine.sweeps.store import Launch
    from batchscope.tui.headless.log_lines import Log

DEFAULT_PRESET = "quickstart"
READING_SECONDS = 2.0
EXPORTING_SECONDS = 1.0
LARGE_JOURNAL = 4 << 20
"""Bytes of a journal whose export takes longer than a person expects."""


def run_experiment(words: argparse.Namespace) -> int:
    """Run the preset or export the stored sweep that the options name; return the exit code."""
    from batchscope.engine.experiment.preset_catalog import find_preset
    from batchscope.engine.export.weights import check_preset as check_weights
    from batchscope.engine.sweeps.cluster_address import HERE, refuse_task
    from batchscope.engine.sweeps.store import Launch, home_folder
    from batchscope.engine.sweeps.trust import check_preset, trust_for
    from batchscope.engine.system.files import user_path
    from batchscope.tui.config.settings import personal_folder
    from batchscope.tui.headless.elapsed_notice import elapsed_notice
    from batchscope.tui.headless.log_lines import Log

    _check_tensorboard(words)
    _check_export(words)
    if words.sweep:
        return _export_stored(words)
    screen = has_terminal() and not words.export
    preset = None
    if words.preset or words.set or not screen:
        name = words.preset or DEFAULT_PRESET
        log = Log(words.log_format, quiet=words.quiet)
        with elapsed_notice(log, "reading", f"reading preset {name}", READING_SECONDS):
            preset = find_preset(name, words.set)
        if words.weights:
            check_weights(preset.name, preset.configurations)
        refuse_task(words.on or HERE, preset.task_folder)
    _check_machine(words)
    home = home_folder(words.home, writes=preset is not None or bool(words.trust))
    if words.trust:
        trust_for(home, user_path(words.trust), preset)
    if preset and not screen:
        check_preset(home, preset, personal_folder())
    launch = Launch(
        preset=preset.name if preset else "",
        device=words.device,
        workers=words.workers,
        data_dir=str(user_path(words.data_dir)) if words.data_dir else None,
        memory_limit=words.memory_limit,
        **_cluster(words),
    )
    if screen:
        return show_screen(home, words.settings, preset=preset, launch=launch)
    assert preset is not None
    return _headless(words, home, preset, launch)


def _cluster(words: argparse.Namespace) -> "dict[str, Any]":
    """Return the fields of a `Launch` that `--on`, `--gpu-share` and `--checkpoints` set.

    Raises:
        UsageProblem: the options contradict each other.
        MachineProblem: Ray is not installed, or the cluster does not answer.
    """
    from batchscope.engine.sweeps.cluster_address import HERE, check, check_reachable

    on = check(words.on or HERE)
    here = on == HERE
    if here and words.gpu_share is not None:
        raise UsageProblem("--gpu-share: needs --on")
    if not here and words.device not in ("auto", "cpu", "cuda"):
        raise UsageProblem(
            f"--device {printable(words.device)}: with --on it must be auto, cpu or cuda"
        )
    check_reachable(on)
    if words.checkpoints is None:
        return {"on": on, "gpu_share": words.gpu_share or 1.0}
    from batchscope.engine.checkpoints.remote_store import check as check_store

    kept = check_store(words.checkpoints, not here)
    return {"on": on, "gpu_share": words.gpu_share or 1.0, "checkpoints": kept}


def _check_export(words: argparse.Namespace) -> None:
    """Raise `UsageProblem` for an option of `--export` that is given without it."""
    needing = {"overwrite": "--overwrite", "no_report": "--no-report", "weights": "--weights"}
    for name, flag in needing.items():
        if getattr(words, name) and not words.export:
            raise UsageProblem(f"{flag}: needs --export DIR")


def _check_tensorboard(words: argparse.Namespace) -> None:
    """Raise `Problem` if TensorBoard files are wanted but cannot be written."""
    if not words.tensorboard:
        return
    if not words.export:
        raise UsageProblem("--tensorboard: needs --export DIR")
    from batchscope.engine.export.tensorboard import check_tensorboard

    check_tensorboard()


def _check_machine(words: argparse.Namespace) -> None:
    """Raise `Problem` if the device or the data folder does not exist."""
    from batchscope.engine.system.files import is_folder, user_path
    from batchscope.tui.config.settings import place_of

    if words.data_dir:
        where = place_of(words, "data_dir")
        try:
            found = is_folder(user_path(words.data_dir))
        except UsageProblem as problem:
            raise UsageProblem(f"{where} {problem}") from None
        if not found:
            raise UsageProblem(f"{where} {printable(words.data_dir)}: no such folder")
    if words.device not in ("auto", "cpu") and not words.on:
        from batchscope.engine.devices.devices import choose_devices

        try:
            choose_devices(words.device)
        except Problem as problem:
            reason = str(problem).removeprefix("--device")
            raise type(problem)(place_of(words, "device") + reason) from None


def _headless(words: argparse.Namespace, home: Path, preset: "Preset", launch: "Launch") -> int:
    from batchscope.engine.export.bundle import check_target, write_export
    from batchscope.engine.sweeps.launcher import start_conductor
    from batchscope.engine.sweeps.store import create_sweep
    from batchscope.tui.headless import follower as headless
    from batchscope.tui.headless.summary import summary

    log = headless.open_log(words)
    if not words.export:
        text = f"no terminal, so {preset.name} runs without a screen"
        log.say("headless", text, preset=preset.name)
    if words.export:
        _check_apart(words.export, home)
        check_target(_target(words.export), None, words.overwrite)
    folder = create_sweep(home, preset, launch)
    log.sweep = folder.name
    created = f"sweep {folder.name} created; watch it with `batchscope attach {folder.name}`"
    log.say("sweep-created", created, folder=str(folder))
    with headless.interruption() as interrupted:
        start_conductor(folder)
        follower = headless.HeadlessFollower(folder, log)
        code, state = headless.follow(follower, log, True, interrupted)
    if code == headless.INTERRUPTED:
        on = f"resume it with `batchscope resume {folder.name}`"
        there = f"export its results so far with `batchscope --export DIR --sweep {folder.name}`"
        log.say("resumable", f"{on}; {there}", "warning")
        return code
    if code == UsageProblem.exit_code and not any(t.started for t in state.trials.values()):
        print_summary(summary(folder, state, None), words.json)  # refused: nothing to export
        return code
    target = _target(words.export) if words.export else folder / "export"
    try:
        with _exporting(log, folder, target):
            write_export(folder, target, **_parts(words), kept=partial(_name_kept, log))
    except MachineProblem as problem:
        again = f"export it again with `batchscope --export DIR --sweep {folder.name}`"
        raise MachineProblem(f"{problem}; the sweep is stored: {again}") from None
    except ImportError as error:  # modules imported this late may have been removed or replaced
        again = f"export it with `batchscope --export DIR --sweep {folder.name}`"
        changed = f"batchscope was changed while the sweep ran ({printable(error)})"
        raise MachineProblem(f"{changed}; the sweep is stored: {again}") from None
    _name_missing_weights(words, target, log)
    print_summary(summary(folder, state, target), words.json)
    return code


def _export_stored(words: argparse.Namespace) -> int:
    from batchscope.engine.export.bundle import check_target, write_export
    from batchscope.engine.export.weights import check_stored
    from batchscope.engine.sweeps.store import (
        conductor_lives,
        find_sweep,
        home_folder,
        load_state,
        read_launch,
    )
    from batchscope.tui.headless import follower as headless
    from batchscope.tui.headless.log_lines import Log
    from batchscope.tui.headless.summary import summary

    if not words.export:
        raise UsageProblem(
            "--sweep: needs --export DIR; to open a stored sweep, use `batchscope attach ID`"
        )
    if words.preset or words.set:
        raise UsageProblem("--sweep: exports a stored sweep; leave out --preset and --set")
    home = home_folder(words.home, writes=False)
    folder = find_sweep(home, words.sweep)
    _check_apart(words.export, home)
    target = _target(words.export)
    check_target(target, folder.name, words.overwrite)
    if words.weights:
        where = ["--home", words.home] if words.home else []
        launch, replaces = read_launch(folder), words.overwrite
        check_stored(folder, load_state(folder), launch, words.export, where, replaces)
    alive = conductor_lives(folder)  # checked before reading, so that its last events are read
    log = Log(words.log_format, quiet=words.quiet, sweep=folder.name)
    with _exporting(log, folder, target):
        state = write_export(folder, target, **_parts(words), kept=partial(_name_kept, log))
    _name_missing_weights(words, target, log)
    print_summary(summary(folder, state, target, alive), words.json)
    return headless.exit_code(state)


def _parts(words: argparse.Namespace) -> "dict[str, bool]":
    """Return which parts of an export the options ask for, as arguments of `write_export`."""
    return {
        "report": not words.no_report,
        "tensorboard": words.tensorboard,
        "weights": words.weights,
    }


def _exporting(log: "Log", folder: Path, target: Path) -> "AbstractContextManager[None]":
    """Return a context that logs lines while a large sweep is exported."""
    from batchscope.engine.journal.file import NAME
    from batchscope.tui.headless.elapsed_notice import elapsed_notice

    try:
        large = (folder / NAME).stat().st_size > LARGE_JOURNAL
    except OSError:  # the export names the file and says why
        large = False
    text = f"exporting to {target}"
    return elapsed_notice(log, "exporting", text, EXPORTING_SECONDS if large else None)


def _name_kept(log: "Log", names: list[str]) -> None:
    """Log one line with the files of a person that an export has kept under another name."""
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"files that were changed since the last export are kept as {some}"
    log.say("files-kept", text, "warning", files=names)


def _name_missing_weights(words: argparse.Namespace, target: Path, log: "Log") -> None:
    """Log one line with the trials that have no weights in an export, if there are any."""
    if not words.weights:
        return
    from batchscope.engine.export.bundle import read_manifest
    from batchscope.engine.export.weights import without_weights

    missing = without_weights(read_manifest(target))
    if missing:
        log.say("weights-missing", missing, "warning")


def _target(written: str) -> Path:
    """Return the folder of an export, with symbolic links resolved."""
    return Path(os.path.realpath(written))


def _check_apart(written: str, home: Path) -> None:
    """Raise `UsageProblem` for an export that would take the place of stored sweeps, or of one."""
    from batchscope.engine.sweeps.store import LOCK

    target, sweeps = _target(written), Path(os.path.realpath(home / "sweeps"))
    if sweeps.is_relative_to(target):
        raise UsageProblem(
            f"--export {printable(written)}: holds the stored sweeps; name another folder"
        )
    if target.parent == sweeps or os.path.lexists(target / LOCK):  # the latter: of another home
        raise UsageProblem(
            f"--export {printable(written)}: is a place for a stored sweep; name another folder"
        )


def print_summary(of: "dict[str, object]", as_json: bool) -> None:
    """Print the summary on stdout, as text or as one JSON object."""
    from batchscope.tui.headless.summary import folded, summary_text
    from batchscope.tui.render.ascii import json_text

    if as_json:
        say(json_text(of, sys.stdout))
        return
    text = summary_text(of)
    seen = sys.stdout.isatty()
    lines = folded(text, shutil.get_terminal_size().columns) if seen else text
    say(*lines.split("\n"))

"""Completes options, commands, presets, settings and sweeps in a shell, with argcomplete."""

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any

from batchscope.engine.errors import Problem

SHELLS = ("bash", "zsh", "fish")
ASKED = "_ARGCOMPLETE"
"""Environment variable that a shell sets when it asks for completions."""


def script(shell: str) -> str:
    """Return the script that makes a shell ask batchscope for completions."""
    from argcomplete.shell_integration import shellcode

    return str(shellcode(["batchscope"], shell=shell)).strip()


def answer(parser: argparse.ArgumentParser) -> None:
    """Print the completions and exit if a shell asked for them; otherwise do nothing."""
    if ASKED not in os.environ:
        return
    import argcomplete
    from argcomplete.completers import FilesCompleter

    for each in (parser, *_commands(parser)):
        for action in each._actions:
            if action.dest in COMPLETERS:
                action.completer = _printable(COMPLETERS[action.dest]())  # type: ignore[attr-defined]
    argcomplete.autocomplete(
        parser,
        always_complete_options="long",
        default_completer=_printable(FilesCompleter()),
    )


def _printable(complete: Any) -> Any:
    """Leave out names with control characters: a shell prints them and splits at newlines.

    A name that cannot be read, because a folder is gone or closed to this user, is no message: it
    would be written into the line that is typed.
    """

    def offered(**about: Any) -> list[str]:
        try:
            return [name for name in complete(**about) if name.isprintable()]
        except (OSError, Problem):
            return []

    return offered


def _commands(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _folders() -> Any:
    from argcomplete.completers import DirectoriesCompleter

    return DirectoriesCompleter()


def _presets() -> Any:
    from argcomplete.completers import FilesCompleter

    from batchscope.engine.experiment.preset_catalog import preset_files

    def complete(prefix: str, **rest: Any) -> list[str]:
        return [*preset_files(), *FilesCompleter(["toml"])(prefix, **rest)]

    return complete


def _sweeps() -> Any:
    def complete(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        from batchscope.engine.sweeps.store import home_folder, sweep_folders

        return [
            folder.name for folder in sweep_folders(home_folder(parsed_args.home, writes=False))
        ]

    return complete


def _sweeps_and_folders() -> Any:
    stored, folders = _sweeps(), _folders()

    def complete(prefix: str, **rest: Any) -> list[str]:
        return [*stored(**rest), *folders(prefix, **rest)]

    return complete


def _settings() -> Any:
    def complete(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        from batchscope.tui.cli.setting_completion import completions

        if getattr(parsed_args, "command", None):  # `check` has arguments of a task there
            return []
        return completions(prefix, parsed_args)

    return complete


def _names(*known: str) -> Callable[[], Any]:
    return lambda: lambda **_: known


def _themes() -> Any:
    from batchscope.tui.theme.themes import THEMES

    return lambda **_: tuple(THEMES)


COMPLETERS: dict[str, Callable[[], Any]] = {
    "preset": _presets,
    "sweep": _sweeps,
    "id": _sweeps,
    "overlay": _sweeps,
    "one": _sweeps_and_folders,
    "other": _sweeps_and_folders,
    "set": _settings,
    "theme": _themes,
    "device": _names("auto", "cpu", "cuda:0"),
    "on": _names("ray", "auto", "ray://"),
    "export": _folders,
    "data_dir": _folders,
    "home": _folders,
}
"""For each option or argument, by `dest`: the function that makes its completer."""

"""Prints the settings in force as a settings file with comments."""

from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.experiment.toml_literal import literal
from batchscope.tui.config.commands import COMMANDS, Command, slug
from batchscope.tui.config.keymap import key_written
from batchscope.tui.config.settings import DEFAULTS, MEANINGS, UserSettings

EXAMPLES = {"ascii": True, "workers": 2, "memory_limit": "2GiB", "data_dir": "~/images"}
"""Example values of the keys that have no default."""


def annotated(settings: UserSettings, path: Path) -> str:
    """Return a settings file with every key and its meaning; defaults are commented out."""
    state = "" if path.is_file() else " (does not exist yet; save this there)"
    lines = [f"# {printable(path)}{state}", "# Options of the command line override this file.", ""]
    for name, meaning in MEANINGS.items():
        value = getattr(settings, name)
        unset = value == getattr(DEFAULTS, name)
        shown = EXAMPLES.get(name) if value is None else value
        lines += [f"# {meaning}", ("# " if unset else "") + f"{name} = {literal(shown)}", ""]
    lines += [
        "# Keys of the commands: a character, a name (f2, ctrl+x, pageup), or a list of them.",
        "[keys]",
    ]
    commands = {slug(command): command for command in COMMANDS}
    return "\n".join([*lines, *(_key_line(c, settings) for c in commands.values())])


def _key_line(command: Command, settings: UserSettings) -> str:
    name = slug(command)
    given = settings.keys.get(name)
    written = list(given or map(key_written, command.keys.split(",")))
    value = written[0] if len(written) == 1 else written
    return ("" if given else "# ") + f"{name} = {literal(value)}"

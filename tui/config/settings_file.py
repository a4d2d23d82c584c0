"""The settings as a file that explains itself, with what holds now."""

from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.experiment.toml_literal import literal
from batchscope.tui.config.commands import COMMANDS, Command, slug
from batchscope.tui.config.keymap import key_written
from batchscope.tui.config.settings import DEFAULTS, MEANINGS, UserSettings

EXAMPLES = {"ascii": True, "workers": 2, "memory_limit": "2GiB", "data_dir": "~/images"}
"""What a key without a default could be."""


def annotated(settings: UserSettings, path: Path) -> str:
    """Every key with what it does; a comment where it stands at its default."""
    state = "" if path.is_file() else " (not there yet: save this as it)"
    lines = [f"# {printable(path)}{state}", "# The command line goes before what stands here.", ""]
    for name, meaning in MEANINGS.items():
        value = getattr(settings, name)
        unset = value == getattr(DEFAULTS, name)
        shown = EXAMPLES.get(name) if value is None else value
        lines += [f"# {meaning}", ("# " if unset else "") + f"{name} = {literal(shown)}", ""]
    lines += [
        "# Keys of the commands: a character or a name (f2, ctrl+x, pageup), or a list.",
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

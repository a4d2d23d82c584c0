"""Writes a small task and its preset, and says what to do with them."""

import argparse
import shlex
from pathlib import Path

from batchscope.engine.errors import printable
from batchscope.engine.system.files import user_path
from batchscope.tui.terminal.output import say


def new(words: argparse.Namespace) -> int:
    """Write the files that the options name, say the next commands, and return the exit code."""
    from batchscope.engine.tasks.starter import write_starter

    module, preset = write_starter(user_path(words.file))
    folder, here = module.parent, module.parent == Path.cwd()
    path = "" if here else f" --path {_quoted(folder)}"
    say(
        f"{printable(module)}: a task: a model, its data and its loss",
        f"{printable(preset)}: a preset, which says what to train with it",
        "next:",
        f"  batchscope check {module.stem}:make{path}",
        f"  batchscope trust {_quoted(Path()) if here else _quoted(folder)}",
        f"  batchscope --preset {_quoted(Path(preset.name) if here else preset)}",
    )
    return 0


def _quoted(path: Path) -> str:
    return printable(shlex.quote(str(path)))

"""Finds presets: the shipped ones by name, others by file."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.system.files import is_there


def preset_folder() -> Path:
    """Return the folder of the shipped presets; a link within the package leads to it."""
    return (Path(__file__).resolve().parents[1] / "presets").resolve()


def preset_files() -> dict[str, Path]:
    """Return the files of the shipped presets by name."""
    return {path.stem: path for path in sorted(preset_folder().glob("*.toml"))}


def find_preset(name: str, assignments: Sequence[str] = ()) -> Preset:
    """Load the preset of that name, or in that file.

    Raises:
        UsageProblem: there is none, or it has a wrong value.
    """
    shipped = preset_files()
    if name in shipped:
        return load_preset(shipped[name], assignments)
    path = Path(name)
    if path.suffix == ".toml" or os.sep in name or is_there(path):
        return load_preset(path, assignments)
    close = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the presets are {', '.join(shipped)}"
    raise UsageProblem(f"no preset or file {printable(name)!r}; {hint}")

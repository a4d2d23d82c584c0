"""Lists the presets of the shipped folder, of the current folder and of a personal folder.

Only `*.toml` directly in a folder are looked at, and only so many, because a current folder may
hold anything. Nothing of a person's code is imported: of a task the source is read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from batchscope.engine.errors import Problem, printable
from batchscope.engine.experiment.preset import Preset, load_preset
from batchscope.engine.experiment.preset_catalog import preset_files, preset_folder
from batchscope.engine.system.untrusted_files import read_bytes

Origin = Literal["shipped", "current", "personal"]

MOST_ENTRIES = 2_000
"""How many names of a folder are looked at."""
MOST_FILES = 100
"""How many `*.toml` of a folder are read, in the order of their names."""
MOST_BYTES = 1 << 18

_TABLE = re.compile(rb"^[ \t]*\[[ \t]*(?:grid|task)[ \t]*[].]", re.MULTILINE)
_TITLED = re.compile(rb"^[ \t]*title[ \t]*=", re.MULTILINE)
_TRAINS = re.compile(rb"^[ \t]*\[[ \t]*train[ \t]*[].]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundPreset:
    """A preset file.

    Attributes:
        path: the file.
        origin: the folder that it was found in.
        preset: its content; None if it has an error.
        problem: the error in one line, or empty.
    """

    path: Path
    origin: Origin
    preset: Preset | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Return the name of the file without its suffix."""
        return self.path.stem


def found_presets(
    current: Path | None = None, personal: Path | None = None
) -> tuple[FoundPreset, ...]:
    """Return the shipped presets, then those of the current folder, then the personal ones.

    Args:
        current: the current folder; of it only files that look like a preset are returned.
        personal: the personal folder, which may be missing.
    """
    found = [_read(path, "shipped") for path in preset_files().values()]
    seen = {preset_folder()}
    folders: tuple[tuple[Path | None, Origin], ...] = (
        (current, "current"),
        (personal, "personal"),
    )
    for folder, origin in folders:
        if folder is None or (real := Path(os.path.realpath(folder))) in seen:
            continue
        seen.add(real)
        found += [
            _read(path, origin)
            for path in _toml_files(folder)
            if origin == "personal" or looks_like_preset(path)
        ]
    return tuple(found)


def looks_like_preset(path: Path) -> bool:
    """Return whether a file has `[grid]`, `[task]`, or a title and `[train]`."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except (OSError, ValueError):
        return False
    trains = _TITLED.search(content) and _TRAINS.search(content)
    return bool(_TABLE.search(content) or trains)


def _toml_files(folder: Path) -> Iterator[Path]:
    """Yield the first `MOST_FILES` TOML files of a folder; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_ENTRIES)]
    except OSError:
        return
    toml = sorted(name for name in names if name.endswith(".toml") and not name.startswith("."))
    for name in toml[:MOST_FILES]:
        yield folder / name


def _read(path: Path, origin: Origin) -> FoundPreset:
    try:
        if origin != "shipped":  # a file of anybody may be large
            read_bytes(path, MOST_BYTES)
        return FoundPreset(path, origin, load_preset(path))
    except Problem as problem:
        return FoundPreset(path, origin, None, str(problem))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return FoundPreset(path, origin, None, f"{printable(path)}: {printable(why)}")

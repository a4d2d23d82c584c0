"""What a person sets once: how the screen looks and behaves, and where sweeps run.

The file is looked for at `$BATCHSCOPE_CONFIG` (a file, or a folder that holds `settings.toml`)
and otherwise in the platform's config folder. What the command line says goes before it.
"""

import argparse
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs

from batchscope.engine.errors import MachineProblem, UsageProblem, nearest, printable
from batchscope.engine.experiment.fields import check_value
from batchscope.engine.formatting import parse_size
from batchscope.engine.system.files import is_folder, user_path
from batchscope.tui.theme.themes import DEFAULT, check_theme

FILE = "settings.toml"
LogFormat = Literal["text", "json"]
Seconds = Annotated[float, msgspec.Meta(ge=0.2, le=60.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class UserSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of the file; None where something else decides.

    `memory_limit` is in bytes; `keys` holds, by a command's slug, the keys as they were written.
    """

    theme: str = DEFAULT
    ascii: bool | None = None
    mouse: bool = True
    refresh: Seconds = 1.0
    device: str = "auto"
    workers: Count | None = None
    memory_limit: int | None = None
    data_dir: str | None = None
    log_format: LogFormat = "text"
    keys: dict[str, tuple[str, ...]] = {}


DEFAULTS = UserSettings()
MEANINGS = {
    "theme": "The colours: terminal (its own), dark, light, colour-blind or contrast.",
    "ascii": "Draw in ASCII alone. Without this key, where the locale is not UTF-8.",
    "mouse": "Clicks and the wheel. With it, hold shift to select text.",
    "refresh": "Seconds between two drawings of the board, 0.2 to 60.",
    "device": "Where to train: auto, cpu, or GPUs such as cuda:0,cuda:1.",
    "workers": "How many trials train at once. Without this key, as many as the device bears.",
    "memory_limit": "The most memory that tensors may take of a device, such as 2GiB.",
    "data_dir": "A folder with images in torchvision's layout, to read instead of downloading.",
    "log_format": "Log lines of a run without a screen: text or json.",
}
"""What each key does, as `batchscope settings` says it."""


def settings_path() -> Path:
    """Where the file is, or would be."""
    asked = os.environ.get("BATCHSCOPE_CONFIG")
    if not asked:
        return Path(platformdirs.user_config_dir("batchscope")) / FILE
    path = user_path(asked)
    return path / FILE if is_folder(path) else path


def load_settings() -> UserSettings:
    """What the file says; the defaults where there is none.

    Raises:
        UsageProblem: it says something impossible; the message names file, key and nearest name.
        MachineProblem: it is there but cannot be read.
    """
    path = settings_path()
    shown = printable(path)
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return DEFAULTS
    except OSError as error:
        raise MachineProblem(f"{shown}: cannot be read: {printable(error.strerror)}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{shown}: is not a text file (UTF-8), so no TOML") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{shown}: is no valid TOML: {printable(error)}") from None
    return read_settings(raw, shown)


def read_settings(raw: Mapping[str, Any], where: str) -> UserSettings:
    """Settings from the tables of a file; see `load_settings` for the errors."""
    types = {field.name: field.type for field in msgspec.structs.fields(UserSettings)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        place = f"{where}: {printable(key)}"
        if key not in types:
            raise UsageProblem(f"{where}: unknown key {printable(key)!r}{nearest(key, types)}")
        if key == "keys":
            values[key] = _keys(value, place)
        elif key == "memory_limit":
            values[key] = _named(place, parse_size, value)
        else:
            check_value(value, types[key], place)
            values[key] = _named(place, check_theme, value) if key == "theme" else value
    return UserSettings(**values)


def apply_settings(words: argparse.Namespace) -> None:
    """Complete the words of the command line with what the file says.

    They then hold a value for each setting, and all of them as `settings`.
    """
    said = {name: getattr(words, name, None) for name in UserSettings.__struct_fields__}
    given = {name: value for name, value in said.items() if value is not None}
    words.said = frozenset(given)
    words.settings = msgspec.structs.replace(load_settings(), **given)
    for name in UserSettings.__struct_fields__:
        setattr(words, name, getattr(words.settings, name))


def place_of(words: argparse.Namespace, name: str) -> str:
    """Where a setting was said: the option, or the key with its file."""
    if name in words.said:
        return f"--{name.replace('_', '-')}"
    return f"{printable(settings_path())}: {name}"


def _keys(value: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise UsageProblem(f"{where}: expected a table of commands and their keys")
    if not value:
        return {}
    from batchscope.tui.config.keymap import check_keys

    return check_keys(value, where)


def _named(where: str, check: Any, value: object) -> Any:
    try:
        return check(value)
    except UsageProblem as problem:
        raise UsageProblem(f"{where}: {problem}") from None

"""The settings file: how the screen looks and behaves, and where sweeps run.

The file is `$BATCHSCOPE_CONFIG` (a file, or a folder that holds `settings.toml`), or otherwise
`settings.toml` in the platform's config folder. Options of the command line override it.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs

from batchscope.engine.errors import MachineProblem, UsageProblem, nearest, printable
from batchscope.engine.experiment.fields import check_value
from batchscope.engine.formatting import parse_size
from batchscope.engine.system.files import is_folder, user_path
from batchscope.engine.system.untrusted_files import decode_toml, is_damage, read_bytes
from batchscope.tui.theme.themes import DEFAULT, check_theme

FILE = "settings.toml"
LogFormat = Literal["text", "json"]
Seconds = Annotated[float, msgspec.Meta(ge=0.2, le=60.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class UserSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the settings file; None where the program decides.

    Attributes:
        memory_limit: in bytes.
        keys: the user's keys by a command's name in the file, as they were written.
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
    "theme": "Colours: terminal (the terminal's own), dark, light, colour-blind, contrast.",
    "ascii": "Draw with ASCII only. Default: only if the locale is not UTF-8.",
    "mouse": "Use the mouse (clicks, wheel). To select text, hold shift.",
    "refresh": "Seconds between two updates of the board, 0.2 to 60.",
    "device": "Device to train on: auto, cpu, or GPUs such as cuda:0,cuda:1.",
    "workers": "Trials that train at the same time. Default: as many as the device can run.",
    "memory_limit": "Limit of the memory of all tensors on a device, for example 2GiB.",
    "data_dir": "Folder with images in torchvision's layout, read instead of a download.",
    "log_format": "Format of the log lines of a run without a screen: text or json.",
}
"""What each key does, as `batchscope settings` prints it."""


def settings_path() -> Path:
    """Return the path of the settings file, whether it exists or not."""
    asked = os.environ.get("BATCHSCOPE_CONFIG")
    if not asked:
        return Path(platformdirs.user_config_dir("batchscope")) / FILE
    path = user_path(asked)
    return path / FILE if is_folder(path) else path


def personal_folder() -> Path:
    """Return the folder beside the settings file whose presets the menu offers everywhere."""
    return settings_path().parent / "presets"


def load_settings() -> UserSettings:
    """Read the settings file, or return the defaults if there is none.

    Raises:
        UsageProblem: a key or value is not valid; the message names the file and the key.
        MachineProblem: the file exists but cannot be read.
    """
    path = settings_path()
    shown = printable(path)
    try:
        raw = decode_toml(read_bytes(path))
    except FileNotFoundError:
        return DEFAULTS
    except OSError as error:
        kind = UsageProblem if is_damage(error) else MachineProblem
        raise kind(f"{shown}: cannot be read: {printable(error.strerror or error)}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{shown}: is not a UTF-8 text file") from None
    except ValueError as error:
        raise UsageProblem(f"{shown}: is not valid TOML: {printable(error)}") from None
    return read_settings(raw, shown)


def read_settings(raw: Mapping[str, Any], where: str) -> UserSettings:
    """Check the tables of a settings file; raises as `load_settings` does."""
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
    """Fill in the options that were not given from the settings file.

    Sets every setting on `words`, all of them as `words.settings`, and the names of those given
    on the command line as `words.said`.
    """
    said = {name: getattr(words, name, None) for name in UserSettings.__struct_fields__}
    given = {name: value for name, value in said.items() if value is not None}
    words.said = frozenset(given)
    words.settings = msgspec.structs.replace(load_settings(), **given)
    for name in UserSettings.__struct_fields__:
        setattr(words, name, getattr(words.settings, name))


def place_of(words: argparse.Namespace, name: str) -> str:
    """Return where a setting comes from: the option, or the file and key."""
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

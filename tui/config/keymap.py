"""The user's own key bindings, from the `[keys]` table of the settings file."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace

from batchscope.engine.errors import UsageProblem, nearest, printable, similar
from batchscope.tui.config.commands import COMMANDS, SCREENS, Command, Place, slug

NAMED = (
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "enter", "escape",
    "tab", "space", "backspace", "delete", "insert", *(f"f{number}" for number in range(1, 13)),
)  # fmt: skip
MODIFIERS = ("ctrl", "alt", "shift")
OTHERWISE = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
"""Textual's names of characters, where they differ from Unicode's."""
SIGNS = {"↑": "up", "↓": "down", "←": "left", "→": "right", "esc": "escape", "⇧tab": "shift+tab"}
"""Textual's names of the keys that the screens show with a sign."""
Keys = Mapping[str, tuple[str, ...]]


def key_name(written: str) -> str:
    """Return Textual's name of a key, from a character or a name."""
    if written == " ":
        return "space"
    if len(written) != 1 or written.isalnum():
        return SIGNS.get(written, written)
    if written in SIGNS:
        return SIGNS[written]
    name = unicodedata.name(written, written).lower().replace("-", "_").replace(" ", "_")
    return OTHERWISE.get(name, name)


def key_written(name: str) -> str:
    """Return a key as a user writes it: the character if there is one, else Textual's name."""
    return next((chr(code) for code in range(33, 127) if key_name(chr(code)) == name), name)


def check_keys(raw: Mapping[str, object], where: str) -> dict[str, tuple[str, ...]]:
    """Read the `[keys]` table: for each command a key or a list of keys.

    Args:
        raw: the table as TOML gives it.
        where: file and table, for messages.

    Returns:
        The keys by command, as they were written.

    Raises:
        UsageProblem: a command or key is unknown, or two commands of a screen share a key.
    """
    known = {slug(command): command for command in COMMANDS}
    keys: dict[str, tuple[str, ...]] = {}
    for name, value in raw.items():
        place = f"{where}.{printable(name)}"
        if name not in known:
            raise UsageProblem(
                f"{where}: unknown command {printable(name)!r}{similar(name, known)}"
            )
        written = [value] if isinstance(value, str) else value
        if not isinstance(written, list) or not written:
            raise UsageProblem(f'{place}: expected a key such as "x", or a list of keys')
        keys[name] = tuple(_key(each, place) for each in written)
    for each in SCREENS:
        _check_clashes(keys, where, each)
    return keys


def remapped(commands: Iterable[Command], keys: Keys) -> list[Command]:
    """Return the commands with the user's keys in place of the default ones."""
    listed = list(commands)
    gone = {key for each in listed if slug(each) in keys for key in each.keys.split(",")}
    return [_with_keys(each, keys.get(slug(each)), gone) for each in listed]


def textual_keymap(keys: Keys) -> dict[str, str]:
    """Return the user's keys as a keymap for Textual."""
    return {name: ",".join(map(key_name, own)) for name, own in keys.items()}


def _with_keys(command: Command, own: tuple[str, ...] | None, gone: set[str]) -> Command:
    left = [token for token in command.shown.split() if key_name(token) not in gone]
    if own is None:
        return replace(command, shown=" ".join(left))
    return replace(command, keys=",".join(map(key_name, own)), shown=" ".join([*own, *left]))


def _key(written: object, where: str) -> str:
    """Return a key as it was written; raise if it is unknown."""
    if isinstance(written, str) and len(written) == 1 and written.isprintable():
        return written
    *held, key = written.split("+") if isinstance(written, str) else [""]
    if set(held) <= set(MODIFIERS) and (key in NAMED or (held and len(key) == 1)):
        return str(written)
    hint = nearest(str(written), NAMED) if isinstance(written, str) else ""
    raise UsageProblem(f"{where}: unknown key {printable(written)!r}{hint}")


def _check_clashes(keys: Keys, where: str, place: Place) -> None:
    taken: dict[str, Command] = {}
    here = [command for command in COMMANDS if command.place in (place, "everywhere")]
    for command in remapped(here, keys):
        for key in command.keys.split(","):
            other = taken.setdefault(key, command)
            if slug(other) != slug(command) and {slug(other), slug(command)} & set(keys):
                raise UsageProblem(
                    f"{where}: key {key!r} is assigned to both {slug(other)!r} and "
                    f"{slug(command)!r} on the {place} screen; give one of them another key"
                )


def commands_at(place: Place, keys: Mapping[str, tuple[str, ...]] | None = None) -> list[Command]:
    """Return the commands that work on a screen, with the user's own `keys` where given."""
    here = [command for command in COMMANDS if command.place in (place, "everywhere")]
    if not keys:
        return here
    return remapped(here, keys)

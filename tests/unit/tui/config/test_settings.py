"""The settings file: what it may say, what is wrong with it, and what goes before it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.tui.cli.main import run
from batchscope.tui.cli.parser import build_parser
from batchscope.tui.config.commands import COMMANDS, SCREENS, bindings, slug
from batchscope.tui.config.keymap import check_keys, commands_at, key_name, key_written, remapped
from batchscope.tui.config.settings import (
    DEFAULTS,
    MEANINGS,
    UserSettings,
    apply_settings,
    load_settings,
    read_settings,
    settings_path,
)
from batchscope.tui.config.settings_file import annotated

WHERE = "s.toml"


def said(*words: str) -> Any:
    """What the command line comes to, with the settings applied."""
    found = build_parser().parse_args(list(words))
    apply_settings(found)
    return found


def test_without_a_file_the_defaults_hold(no_settings: Path) -> None:
    assert settings_path() == no_settings
    assert load_settings() == DEFAULTS
    words = said()
    assert (words.device, words.log_format, words.theme) == ("auto", "text", "terminal")


def test_a_folder_is_looked_into(no_settings: Path) -> None:
    no_settings.parent.mkdir()
    no_settings.write_text('theme = "light"\n')
    assert load_settings().theme == "light"


def test_every_key_is_read_and_the_command_line_overrides_it(
    no_settings: Path, tmp_path: Path
) -> None:
    no_settings.parent.mkdir()
    no_settings.write_text(
        'theme = "light"\nascii = true\nmouse = false\nrefresh = 2\ndevice = "cpu"\nworkers = 2\n'
        f'memory_limit = "2GiB"\ndata_dir = "{tmp_path}"\nlog_format = "json"\n'
        '[keys]\nleave = "Q"\nmenu = ["m", "f2"]\n'
    )
    words = said()
    assert words.settings == UserSettings(
        theme="light",
        ascii=True,
        mouse=False,
        refresh=2,
        device="cpu",
        workers=2,
        memory_limit=2 << 30,
        data_dir=str(tmp_path),
        log_format="json",
        keys={"leave": ("Q",), "menu": ("m", "f2")},
    )
    words = said("--theme", "dark", "--no-ascii", "--mouse", "--workers", "1", "--device", "auto")
    assert (words.theme, words.ascii, words.mouse) == ("dark", False, True)
    assert (words.workers, words.device, words.memory_limit) == (1, "auto", 2 << 30)
    words = said("attach", "--log-format", "text")
    assert (words.log_format, words.settings.theme) == ("text", "light")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"themes": 1}, "s.toml: unknown key 'themes'; did you mean 'theme'?"),
        ({"theme": "drak"}, "s.toml: theme: no theme 'drak'; did you mean 'dark'?"),
        ({"theme": 3}, "s.toml: theme: expected a string, got 3"),
        ({"ascii": "yes"}, "s.toml: ascii: expected true or false, got 'yes'"),
        ({"refresh": 0.1}, "s.toml: refresh: expected a number (at least 0.2 and at most 60)"),
        ({"refresh": float("nan")}, "s.toml: refresh: expected a finite number"),
        ({"workers": 0}, "s.toml: workers: expected an integer (at least 1), got 0"),
        ({"memory_limit": "2G"}, "s.toml: memory_limit: expected a size such as"),
        (
            {"log_format": "jsn"},
            "log_format: expected one of json, text, got 'jsn'; did you mean 'json'?",
        ),
        ({"keys": 3}, "s.toml: keys: expected a table of commands and their keys"),
        ({"keys": {"leav": "x"}}, "unknown command 'leav'; did you mean 'leave'?"),
        ({"keys": {"leave": 3}}, 's.toml: keys.leave: expected a key such as "x"'),
        ({"keys": {"leave": []}}, 's.toml: keys.leave: expected a key such as "x"'),
        ({"keys": {"leave": "hoem"}}, "key 'hoem'; did you mean 'home'?"),
        ({"keys": {"leave": "ctrl+"}}, "key 'ctrl+'"),
        ({"keys": {"leave": "\x1b"}}, "key '�'"),
        (
            {"keys": {"leave": "m"}},
            "'menu' and 'leave' on the board screen",
        ),
        ({"a\x1b]0;x\x07": 1}, "s.toml: unknown key 'a�]0;x�'"),
    ],
)
def test_a_mistake_is_one_message(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_settings(raw, WHERE)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"theme = ", b"\xff\xfe", b"theme = 'light'\ntheme = 'dark'"])
def test_a_file_that_is_no_toml_is_named(no_settings: Path, content: bytes) -> None:
    no_settings.parent.mkdir()
    no_settings.write_bytes(content)
    with pytest.raises(UsageProblem, match=r"settings\.toml: is "):
        load_settings()


def test_what_is_not_there_is_named_with_option_or_key(no_settings: Path) -> None:
    no_settings.parent.mkdir()
    no_settings.write_text('data_dir = "/nowhere/at/all"\n')
    for words, where in (((), f"{no_settings}: data_dir"), (("--data-dir", "/no"), "--data-dir")):
        with pytest.raises(UsageProblem, match=rf"^{re.escape(where)} /no.*: no such folder$"):
            run(["--preset", "quickstart", *words])
    no_settings.write_text('device = "cup"\n')
    for words, where in (((), f"{no_settings}: device"), (("--device", "cup"), "--device")):
        with pytest.raises(
            UsageProblem, match=rf"^{re.escape(where)} cup: unknown device; did you mean"
        ):
            run(["--preset", "quickstart", *words])


def test_what_is_printed_can_be_saved_as_it_is(tmp_path: Path) -> None:
    settings = UserSettings(
        theme="dark",
        ascii=False,
        refresh=0.5,
        memory_limit=3 << 30,
        keys={"leave": ("Q", "f2"), "help": ("h",)},
    )
    for each in (DEFAULTS, settings):
        text = annotated(each, tmp_path / "settings.toml")
        assert read_settings(tomllib.loads(text), WHERE) == each
        assert all(f"# {told}" in text for told in MEANINGS.values())
    assert set(MEANINGS) == {*UserSettings.__struct_fields__} - {"keys"}


def test_commented_settings_are_valid_too(tmp_path: Path) -> None:
    lines = annotated(DEFAULTS, tmp_path / "x").splitlines()
    entries = [line.removeprefix("# ") for line in lines if " = " in line]
    head = [line for line in entries if line.partition(" =")[0] in MEANINGS]
    keys = [line for line in entries if line not in head]
    found = read_settings(tomllib.loads("\n".join([*head, "[keys]", *keys])), WHERE)
    assert (
        msgspec.structs.replace(
            found, ascii=None, workers=None, memory_limit=None, data_dir=None, keys={}
        )
        == DEFAULTS
    )
    assert set(found.keys) == {slug(command) for command in COMMANDS}


# Keys


def test_names_of_keys_are_those_that_come_in() -> None:
    from textual.keys import _character_to_key

    for code in range(33, 127):
        assert key_name(chr(code)) == _character_to_key(chr(code))
        assert key_written(key_name(chr(code))) == chr(code)
    assert key_name("ctrl+x") == "ctrl+x"


def test_commands_of_one_screen_have_names_of_their_own() -> None:
    for place in SCREENS:
        names = [slug(command) for command in commands_at(place)]
        assert len(names) == len(set(names))
    assert check_keys({}, WHERE) == {}


def test_no_two_commands_of_a_screen_share_a_key() -> None:
    for place in SCREENS:
        keys = [key for command in commands_at(place) for key in command.keys.split(",")]
        assert len(keys) == len(set(keys)), sorted(key for key in keys if keys.count(key) > 1)


def test_a_command_is_shown_with_the_keys_that_it_has() -> None:
    shown = {slug(each): each for each in remapped(COMMANDS, {"gradients-next-view": ("z",)})}
    assert shown["gradients-next-view"].shown == "z G"
    assert shown["gradients-next-view"].keys == "z"
    shown = {slug(each): each for each in remapped(COMMANDS, {"gradients-previous-view": ("?",)})}
    assert shown["gradients-next-view"].shown == "g"
    assert shown["gradients-previous-view"].shown == "?"
    assert shown["gradients-previous-view"].keys == "question_mark"


def test_two_commands_may_change_places() -> None:
    keys = check_keys({"menu": "x", "curves-x-axis": "m"}, WHERE)
    assert keys == {"menu": ("x",), "curves-x-axis": ("m",)}
    assert len(bindings("board")) > 10

"""The list of panes: each entry names a pane that is there, with a digit and keys of its own."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from batchscope.tui.config.commands import COMMANDS, slug
from batchscope.tui.config.panes import PANE_KEYS, PANES, TILES, PaneEntry
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.pane_factory import new_pane
from batchscope.tui.panes.tiling import RIGHT
from batchscope.tui.viewmodel.view import TOPICS, View

ALL_TOPICS = {topic for topics in TOPICS.values() for topic in topics} | {"clock", "findings"}
FOLDER = Path(import_module("batchscope.tui.panes").__path__[0])


@pytest.mark.parametrize("entry", PANES, ids=lambda entry: entry.name)
def test_an_entry_loads_the_pane_of_its_name(entry: PaneEntry) -> None:
    pane = new_pane(entry, View(lambda: 0.0))
    assert entry.name == pane.NAME
    assert set(pane.TOPICS) <= ALL_TOPICS
    assert pane.id == f"pane-{entry.name}"


def test_every_pane_that_there_is_has_an_entry() -> None:
    found = {
        node.name
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == Pane.__name__ for base in node.bases)
    }
    assert found == {entry.source.partition(":")[2] for entry in PANES}


def test_each_pane_has_a_digit_a_command_and_a_tile() -> None:
    assert list(PANE_KEYS.values()) == [str(number) for number in range(1, len(PANES) + 1)]
    assert len(PANES) <= 9
    showing = {each.action: each.keys for each in COMMANDS if each.action.startswith("pane(")}
    assert showing == {f"pane('{name}')": key for name, key in PANE_KEYS.items()}
    assert [name for names in TILES.values() for name in names].count("settings") == 1
    assert set(TILES) == {"top", "lower left", "lower right", *RIGHT}


def test_names_in_the_settings_file_outlive_other_words() -> None:
    names = {slug(command) for command in COMMANDS}
    assert {
        "curves-next-figure",
        "bars-next-figure",
        "pause-or-go-on",
        "skip-the-chosen-trial",
        "retry-the-chosen-trial",
        "pane-4-gradient-norm",
    } <= names


def test_an_entry_of_another_name_is_refused() -> None:
    wrong = PaneEntry("other", PANES[-1].source, "top")
    with pytest.raises(TypeError, match="other"):
        new_pane(wrong, View(lambda: 0.0))

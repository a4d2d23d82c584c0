"""The groups and the filter of the menu."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.menu_entries import matches
from tests.functional.board_fixtures import finished_sweep, home
from tests.functional.boards import loaded, part, still
from tests.functional.menu.menu_fixtures import HOSTILE, PRESET, SMALL, listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets")


def lines(app: BatchscopeApp) -> list[str]:
    """What the list shows, without what stands behind the names."""
    shown = part(app, "picker").splitlines()
    return [line[:19].rstrip() for line in shown if line.strip()]


async def test_presets_are_listed_by_group_with_the_first_steps_first_and_no_group_last(
    home: Path, presets: dict[str, Path]
) -> None:
    for name in ("alone", "more"):
        presets[name] = presets["large"].with_stem(name)
        group = "sizes" if name == "more" else ""
        presets[name].write_text(PRESET.format(title=name, question="?", group=group))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert lines(app)[:8] == [
            " sizes",
            " ▸ quickstart",
            "   more",
            " generalization",
            "   large",
            " other",
            "   alone",
            "   broken",
        ]


async def test_the_filter_narrows_with_every_character_and_counts(home: Path) -> None:
    finished_sweep(home, "20270114-080000-large")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("slash")
        assert "3 of 3 experiments, 1 of 1 sweeps" in part(app, "filter-count")
        assert "enter keep" in part(app, "menu-hints")
        await pilot.press("l", "e", "a", "r", "n")
        assert lines(app) == [" generalization", " ▸ large"]
        assert "1 of 3 experiments, 0 of 1 sweeps" in part(app, "filter-count")
        assert "Does a larger batch learn less?" in part(app, "preview")
        await pilot.press("backspace", "backspace", "backspace", "backspace", "a", "r")
        assert lines(app) == [" generalization", " ▸ large", " stored sweeps", "   large"]
        await pilot.press("space", "f", "i", "n", "i")
        assert lines(app) == [" stored sweeps", " ▸ large"]
        assert "20270114-080000-large" in part(app, "preview")


async def test_letters_that_are_keys_are_typed_and_arrows_still_move(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("slash", "r")
        assert len(lines(app)) == 6
        await pilot.press("down")
        assert " ▸ large" in part(app, "picker")
        await pilot.press("q", "question_mark", "j")
        assert "“rq?j”" in part(app, "picker")
        assert part(app, "preview").strip("─\n") == ""
        await pilot.press("escape")
        assert " ▸ quickstart" in part(app, "picker")
        assert not app.screen.has_class("-filtered")


async def test_enter_keeps_the_filter_and_escape_clears_it(home: Path) -> None:
    folder = finished_sweep(home, "20270114-080000-large")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("slash", *"finished", "enter")
        assert app.screen.has_class("-filtered")
        assert lines(app) == [" stored sweeps", " ▸ large"]
        await pilot.press("j")
        assert "End" in part(app, "menu-hints")
        await pilot.press("escape")
        assert "quickstart" in part(app, "picker")
        await pilot.press("escape")
        assert "Nothing to clear" in part(app, "menu-hints")
        await pilot.press("slash", *"finished", "enter", "enter")
        assert (await loaded(pilot)).folder == folder


async def test_an_empty_filter_is_hidden_and_no_selection_opens_nothing(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("slash", "space", "enter")
        assert not app.screen.has_class("-filtered")
        await pilot.press("slash", "z", "z", "enter", "enter")
        assert "Nothing is selected" in part(app, "menu-hints")


async def test_a_group_is_neither_markup_nor_escape_sequence(
    home: Path, presets: dict[str, Path]
) -> None:
    presets["large"].write_text(PRESET.format(title="x", question="?", group=HOSTILE))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert " [red]x[/] �]0;pwn�" in part(app, "picker").splitlines()


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=4), st.text())
def test_every_word_must_be_there(words: list[str], other: str) -> None:
    haystack = " ".join(words).casefold()
    assert matches(haystack, " ".join(words))
    assert matches(haystack, other) == all(w in haystack for w in other.casefold().split())

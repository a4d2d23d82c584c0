"""A system clock that is changed while a sweep runs."""

import time
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.system.clock import SteadyClock
from batchscope.tui.viewmodel.journal_follower import JournalUpdate
from batchscope.tui.viewmodel.view import View
from tests.functional.board_fixtures import NOW, Recipe, configurations


def test_a_changed_system_clock_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteadyClock()
    assert abs(clock() - time.time()) < 60.0
    first, passed = clock(), time.monotonic()
    for jump in (1e6, -1e6):
        real = time.time
        monkeypatch.setattr(time, "time", lambda real=real, jump=jump: real() + jump)
        assert first <= clock() <= first + (time.monotonic() - passed) + 1e-3


def test_times_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = JournalWriter(tmp_path)
    first.write(ev.Note(text="one"))
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)  # long ago
    first.write(ev.Note(text="two"))
    first.close()
    second = JournalWriter(tmp_path)
    second.write(ev.Note(text="three"))
    second.close()
    events = journal.Reader(tmp_path / journal.NAME).read_all()
    stamps = [event.at for event in events if isinstance(event, ev.Note)]
    assert stamps == sorted(stamps)
    assert stamps[0] > 1_500_000_000.0


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_board_uses_the_conductors_clock(tmp_path: Path, jump: float) -> None:
    recipe = Recipe(tmp_path)
    recipe.open(configurations((8,), seeds=1))
    view = View(lambda: NOW + jump)  # it was set by a day since the sweep began
    events = journal.Reader(recipe.path).read_all()
    view.adopt(view.state.fold(events), JournalUpdate([], alive=True, damaged=0))
    view.take(JournalUpdate([ev.Note(text="now", at=NOW)], alive=True, damaged=0))
    view.tick()
    assert view.elapsed == pytest.approx(95.0)
    view.take(JournalUpdate([ev.Note(text="a little late", at=NOW - 4.0)], alive=True, damaged=0))
    view.tick()
    assert view.elapsed == pytest.approx(95.0)

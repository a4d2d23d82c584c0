"""Progress rows: their content, and that they fit any width."""

import io

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.analysis.time_estimate import remaining
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import trials_of
from batchscope.tui.headless.live_progress import LiveDisplay
from batchscope.tui.headless.log_lines import Line
from batchscope.tui.headless.progress_rows import fraction, progress_rows
from batchscope.tui.render.styled_text import text_of, width_of
from batchscope.tui.render.units import clock
from tests.messages import says
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    PRESET,
    THREE,
    TWO,
    conductor,
    epochs,
    folded,
    history,
    opened,
    progress,
    started,
    trial_ended,
    worker,
)

NOW = 60.0


def shown(state: SweepState, width: int = 79, most: int = 8, **more: bool) -> list[str]:
    return [text_of(row) for row in progress_rows(state, NOW, width, most, **more)]


def under_way() -> SweepState:
    """One trial done, two run, one waits."""
    return folded(
        worker(),
        *(started(ONE), epochs(ONE, 1, 1), trial_ended(ONE, "finished")),
        *(started(TWO), progress(TWO, 1, 50), epochs(TWO, 1, 1, 2)),
        started(THREE, size=64),
    )


def test_the_first_row_has_counts_and_times() -> None:
    state = under_way()
    first, *_ = shown(state)
    assert first.startswith("● running 1/4 trials ━")
    left = remaining(state, NOW)
    assert left is not None
    assert left.measured
    assert first.endswith(f" 00:58  ETA {clock(left.seconds)}"), "since the conductor's start at 2"


def test_the_share_is_the_mean_of_the_trials() -> None:
    assert fraction(under_way()) == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert fraction(SweepState()) == 0.0
    failed = folded(started(ONE), trial_ended(ONE, "failed"))
    assert fraction(failed) == 1 / 4, "nothing of it is to come"


def test_failed_and_diverged_trials_are_counted_separately() -> None:
    state = folded(
        worker(),
        *(started(ONE), trial_ended(ONE, "failed")),
        *(started(TWO), trial_ended(TWO, "diverged")),
        started(THREE, size=64),
    )
    assert shown(state)[0].startswith("● running 2/4 trials 1 failed 1 diverged ")


def test_a_running_trial_has_epoch_rate_accuracy_and_step() -> None:
    _, two, three = shown(under_way())
    assert two.split() == [
        *(TWO, "━━━━━─────", "50", "%", "epoch", "2/40", "400/s", "0.5000", "step", "50"),
    ]
    assert three.split() == [THREE, "──────────", "0", "%", "epoch", "0/40", "step", "0"]


def test_replicates_of_a_stack_are_one_row() -> None:
    trials = [trial for each in PRESET.configurations for trial in trials_of(each)][:2]
    plan = make_plan(trials[0], 1437, 1)
    plan = msgspec.structs.replace(plan, members=(ONE, TWO))
    state = folded(worker(), ev.Planned(plan=plan), started(ONE), started(TWO))
    rows = shown(state)
    assert len(rows) == 2
    assert rows[1].startswith(f"  {ONE}")
    assert " ×2 " in rows[1]


def test_jobs_without_a_row_are_counted() -> None:
    state = folded(worker(), *(started(name) for name in (ONE, TWO, THREE, FOUR)))
    assert len(shown(state, most=5)) == 5
    rows = shown(state, most=4)
    assert [row.split()[0] for row in rows[1:3]] == [ONE, TWO]
    assert rows[3].split() == ["and", "2", "more"]
    assert [row.split() for row in shown(state, most=2)[1:]] == [["and", "4", "more"]]


def test_before_the_first_step_the_preparation_is_shown() -> None:
    assert [row.split() for row in shown(SweepState())] == [
        ["◌", "preparing"],
        ["reading", "the", "experiment"],
    ]
    fetching = folded(ev.DataProgress(name="mnist", received=3_200_000, total=11_600_000))
    assert says(shown(fetching)[1].strip(), "downloading mnist | 3.2 of 11.6 MB")
    assert "preparing" in shown(folded(worker()))[1]


def test_stopping_is_shown_until_the_conductor_ends() -> None:
    assert shown(under_way(), stopping=True)[0].startswith("■ stopping 1/4")
    assert shown(under_way(), stopping=True, alive=False)[0].startswith("! interrupted 1/4")


def test_a_narrow_row_keeps_name_bar_and_share() -> None:
    first, two, _ = shown(under_way(), width=39)
    assert first.startswith("● running 1/4 trials ")
    assert "ETA" in first
    assert "00:58" not in first
    assert two.split()[:4] == [TWO, "━━━━━─────", "50", "%"]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 30), width=st.integers(1, 200), most=st.integers(2, 12))
def test_rows_have_the_given_width(cut: int, width: int, most: int) -> None:
    state = SweepState().fold(history()[:cut])
    for alive in (True, False):
        rows = progress_rows(state, NOW, width, most, alive)
        assert 1 <= len(rows) <= most
        assert {width_of(row) for row in rows} == {width}


def test_control_characters_in_a_name_are_not_printed() -> None:
    hostile = ev.DataProgress(name="\x1b[2J\n", received=1, total=2)
    assert all(row.isprintable() for row in shown(folded(hostile)))


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1  # nobody waits for it


def test_rich_draws_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    tty = Tty()
    display = LiveDisplay(tty, True, refresh=0.0)
    display.draw(under_way(), True, False)
    display.scroll([Line("note", "a ± b", "warning")])
    display.close()
    assert tty.getvalue().isascii()
    assert "warning: a ~ b" in tty.getvalue()


def test_no_colour_without_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    tty = Tty()
    display = LiveDisplay(tty, False, refresh=0.0)
    display.scroll([Line("note", "oh", "error")])
    display.draw(under_way(), True, False)
    display.close()
    assert "\x1b[3" not in tty.getvalue()
    assert "running" in tty.getvalue()


def test_the_refresh_interval_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    tty = Tty()
    display = LiveDisplay(tty, False, refresh=1e6)
    for _ in range(5):
        display.draw(under_way(), True, False)
    assert tty.getvalue().count("running") == 1
    routine = [Line("epoch", "one of thousands"), Line("trial-started", "as the rows show")]
    before = tty.getvalue()
    display.scroll(routine)
    assert tty.getvalue() == before
    display.close()


def test_an_empty_state_is_drawn() -> None:
    assert len(shown(folded(opened(), conductor()))) == 2

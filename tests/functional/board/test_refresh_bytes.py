"""How much a second of a running sweep sends over the line.

Counted on the recipe's clock, so that no machine's load moves it: each second the two trials that
run finish an epoch and state their progress, as they do at most once a second.
"""

from pathlib import Path

import pytest
from textual.drivers import headless_driver

from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Trial, trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.config.panes import PANE_KEYS
from batchscope.tui.viewmodel.journal_follower import JournalUpdate
from tests.functional.board_fixtures import (
    EPOCHS,
    NOW,
    Recipe,
    conductor_of,
    configurations,
    record_of,
)
from tests.functional.boards import loaded


class Line(headless_driver.HeadlessDriver):
    """A terminal that counts what it is sent."""

    sent = 0

    @property
    def is_headless(self) -> bool:
        """Whether Textual may leave out the drawing: no."""
        return False

    def write(self, data: str) -> None:
        """Count it."""
        Line.sent += len(data.encode())


def second_of(trials: list[Trial], epoch: int, at: float) -> list[ev.AnyEvent]:
    """What the journal gets in a second."""
    found: list[ev.AnyEvent] = []
    for trial in trials:
        record = record_of(trial, epoch)
        found.append(ev.EpochsFinished(trial=trial.id, attempt=1, records=(record,), at=at))
        said = ev.Progress(
            trial=trial.id,
            attempt=1,
            epoch=epoch,
            steps=record.steps + 1,
            samples=record.samples,
            seconds=0.2 * epoch,
            at=at,
        )
        found.append(said)
    return found


@pytest.mark.parametrize(
    ("size", "pane", "most"),
    [((160, 45), "", 5000), *[((80, 24), key, 1500) for key in PANE_KEYS.values()]],
)
async def test_a_second_of_a_running_sweep(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    pane: str,
    most: int,
) -> None:
    monkeypatch.setattr(headless_driver, "HeadlessDriver", Line)
    recipe, chosen = Recipe(tmp_path), configurations()
    recipe.open(chosen)
    recipe.ready(chosen)
    trials = [trials_of(configuration)[0] for configuration in chosen[:2]]
    for trial in trials:
        recipe.start(trial)
        recipe.epochs(trial, 2)
    now = [NOW]
    app = BatchscopeApp(tmp_path, sweep=recipe.folder, clock=lambda: now[0])
    with conductor_of(recipe.folder):
        async with app.run_test(size=size) as pilot:
            board = await loaded(pilot)
            if pane not in ("", "1"):
                await pilot.press(pane)
            before = Line.sent
            for epoch in range(3, EPOCHS + 1):
                now[0] += 1.0
                events = second_of(trials, epoch, now[0])
                board.view.take(JournalUpdate(events, alive=True, damaged=0))
                board.redraw()
                await pilot.pause()
            sent = (Line.sent - before) / (EPOCHS - 2)
    assert 20 < sent < most  # the clock at least

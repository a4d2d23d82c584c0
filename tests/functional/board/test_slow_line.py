"""A terminal that stops reading: frames are skipped, not queued, and it catches up at once."""

import os
import pty
import time
from contextlib import suppress
from pathlib import Path

import pytest

from batchscope.engine.spec import trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.terminal import escapes
from tests.functional.board_fixtures import EPOCHS, NOW, Recipe, conductor_of, configurations
from tests.functional.boards import loaded, part, until


def test_a_line_takes_more_until_it_is_full_and_again_once_it_was_read() -> None:
    theirs, ours = pty.openpty()
    try:
        assert escapes.takes_more(ours)
        os.set_blocking(ours, False)
        os.set_blocking(theirs, False)
        deadline = time.monotonic() + 20.0
        while escapes.takes_more(ours) and time.monotonic() < deadline:
            with suppress(BlockingIOError):
                os.write(ours, b"x" * 4096)
            time.sleep(0.005)  # the system passes it on in its own time
        assert not escapes.takes_more(ours)
        while not escapes.takes_more(ours) and time.monotonic() < deadline:
            with suppress(BlockingIOError):
                os.read(theirs, 65536)
        assert escapes.takes_more(ours)
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_no_terminal_keeps_nobody_waiting(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        assert escapes.takes_more(file.fileno())
    assert escapes.takes_more(-1)


async def test_a_stalled_terminal_is_spared_and_then_shown_the_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, chosen = Recipe(tmp_path), configurations((8, 32), seeds=1)
    recipe.open(chosen)
    recipe.ready(chosen)
    (trial,) = trials_of(chosen[0])
    recipe.start(trial)
    recipe.epochs(trial, 2)
    now, free = [NOW], [True]
    monkeypatch.setattr(escapes, "takes_more", lambda: free[0])
    app = BatchscopeApp(tmp_path, sweep=recipe.folder, clock=lambda: now[0])
    with conductor_of(recipe.folder):
        async with app.run_test(size=(80, 24)) as pilot:
            board = await loaded(pilot)
            before = part(app, "pane-curves")
            free[0] = False
            for epoch in range(3, EPOCHS + 1):
                recipe.epochs(trial, epoch, first=epoch)
            deadline = time.monotonic() + 20.0
            while board.view.reached("b8") < EPOCHS and time.monotonic() < deadline:
                await pilot.pause(0.1)  # it goes on reading
            now[0] += 60.0
            await pilot.pause(2.5)  # the time of two drawings
            assert part(app, "pane-curves") == before
            free[0] = True
            await until(pilot, lambda: f"epoch {EPOCHS}" in part(app, "pane-curves"))

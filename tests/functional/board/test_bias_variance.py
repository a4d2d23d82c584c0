"""Bias, variance and both noise scales as bars, once trials have measured them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.findings.comparison_sides import gather
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.metrics.prediction_codec import pack
from batchscope.engine.sweeps.store import load_state
from batchscope.tui.app import BatchscopeApp
from tests.functional.board_fixtures import NOW, finished_sweep, home
from tests.functional.boards import loaded, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
IMAGES = 100


def telling_sweep(home: Path, same: bool = True) -> Path:
    """A finished sweep; all seeds of a size are wrong on four images, each its own way on one."""
    folder = finished_sweep(home)
    known, lines = load_state(folder), []
    for event in journal.Reader(folder / journal.NAME).read_all():
        told = event
        if isinstance(told, ev.EpochsFinished):
            drawn = {"noise_draws": 4, "noise_trace": 600.0, "noise_signal": 2.0}
            told = replace(told, records=tuple(replace(one, **drawn) for one in told.records))
        if isinstance(told, ev.TrialEnded) and told.status == "finished":
            seed = known.trials[told.trial].seed
            said = predicted(told, seed)
            lines.append(journal.encode(said if same else replace(said, labels=seed + 1)))
        lines.append(journal.encode(told))
    (folder / journal.NAME).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def predicted(end: ev.TrialEnded, seed: int) -> ev.Predicted:
    return ev.Predicted(
        trial=end.trial,
        attempt=end.attempt,
        steps=1,
        classes=10,
        images=IMAGES,
        packed=pack(bytes([1, 1, 1, 1, seed]) + bytes(IMAGES - 5)),
    )


async def test_they_stand_behind_the_other_figures(home: Path) -> None:
    folder = telling_sweep(home)
    app = BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("2", "alt+b", "alt+b")
        lines = part(app, "pane-bars").splitlines()
        assert lines[0].startswith(" variance  mean ± half its 95 % interval")
        assert " 0.0067 n=3" in lines[1]  # of three seeds two stray on one of a hundred images
        await pilot.press("alt+b")
        lines = part(app, "pane-bars").splitlines()
        assert lines[0].startswith(" bias  mean ± half its 95 % interval")
        assert " 0.0467 n=3" in lines[1]  # and there two of three main predictions are wrong
        await pilot.press("alt+b", "alt+b", "alt+b")
        lines = part(app, "pane-bars").splitlines()
        assert lines[0].startswith(" gradient noise scale  over all seeds [95 % interval]")
        assert " 300 [300, 300]" in lines[1]


async def test_where_seeds_have_other_test_data_that_is_the_reason(home: Path) -> None:
    folder = telling_sweep(home, same=False)
    app = BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("2", "alt+b", "alt+b")
        told = " ".join(part(app, "pane-bars").split())
        assert "no variance: the seeds have different test data" in told
    state = load_state(folder)
    side = gather(state, "bias", list(state.configurations.values())[:1])
    assert "different test data" in side.lack()

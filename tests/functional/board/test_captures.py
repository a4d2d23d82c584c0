"""Copies and pictures: what they hold, and where they are."""

import csv
import stat
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree

import pytest

from batchscope.engine.sweeps.store import load_state
from tests.functional.board_fixtures import (
    SIZES,
    conductor_of,
    finished_sweep,
    home,
    probed_sweep,
    running_sweep,
)
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part, still, until
from tests.known import known

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")


def table(path: Path) -> list[list[str]]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.reader(file, delimiter="\t")]


async def test_a_copy_of_the_curves_has_the_legend_with_all_digits(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    sent: list[str] = []
    app.copy = lambda text: not sent.append(text)  # type: ignore[method-assign,func-returns-value]
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("c")
        assert "quickstart-accuracy.tsv" in part(app, "hints")
        await pilot.press("c")
        assert "quickstart-accuracy-2.tsv" in part(app, "hints")
    path = home / "copies" / f"{folder.name}-accuracy.tsv"
    head, *rows = table(path)
    assert head[1:4] == ["configuration", "test accuracy", "standard deviation"]
    state = load_state(folder)
    for size, row in zip(SIZES, rows, strict=True):
        finals = [known(trial.records[-1].test_accuracy) for trial in state.replicates(f"b{size}")]
        assert row[1] == str(size)
        assert float(row[2]) == pytest.approx(fmean(finals), rel=1e-6)
        assert float(row[3]) == pytest.approx(stdev(finals), rel=1e-6)
        assert row[4:] == ["3", "3"]
    assert sent == [path.read_text().rstrip("\n")] * 2


async def test_every_pane_can_be_copied(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            for key in ("2", "B", "3", "4", "5", "6", "7"):
                await pilot.press(key, "c")
                assert part(app, "hints").startswith(" Copied: ")
    found = {path.stem.rpartition("start-")[2]: table(path) for path in home.glob("copies/*")}
    assert found["time"][1][0] == "8"
    assert found["step-time"][0][:2] == ["configuration", "step time"]
    assert found["memory"][2][1:4] == ["32", "32", "1"]
    assert len(found["gradients"]) == 5
    trials = found["trials"]
    assert len(trials) == 13
    assert trials[5][3] == "failed"
    assert "out of memory" in trials[5][-1]
    assert found["findings"][1][1] == "undetermined"
    assert found["log"][1][1] == "info"
    assert all(len({len(row) for row in rows}) == 1 for name, rows in found.items()
               if name != "findings")  # fmt: skip


async def test_a_picture_is_copied_as_it_is_drawn(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4", "g", "c")
    (path,) = home.glob("copies/*")
    assert path.read_text().startswith("probed norm\n")
    assert "█" in path.read_text()


async def test_without_anything_to_copy_a_message_is_shown(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        board.view.state.trials.clear()
        await pilot.press("c")
        assert "Nothing to copy" in part(app, "hints")


async def test_a_disk_error_is_shown(home: Path) -> None:
    app = board_on(finished_sweep(home))
    for name in ("copies", "pictures"):
        (home / name).write_text("in the way")
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        for key, name in (("c", "copies"), ("w", "pictures")):
            await pilot.press(key)
            assert name in part(app, "hints")
            assert "File exists" in part(app, "hints")


async def test_a_picture_of_the_screen_is_svg_and_text(home: Path) -> None:
    folder = finished_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=LARGE) as pilot:
        await loaded(pilot)
        await pilot.press("w")
        assert f"{folder.name}.svg" in part(app, "hints")
        await pilot.press("S", "m")
        await until(pilot, lambda: "stored sweep" in part(app, "menu-title"))
        await pilot.press("w")
        assert "menu.svg" in part(app, "menu-hints")
    svg = (home / "pictures" / f"{folder.name}.svg").read_text()
    ElementTree.fromstring(svg)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )
    lines = (home / "pictures" / f"{folder.name}.txt").read_text().splitlines()
    assert len(lines) == LARGE[1]
    assert lines[0].startswith(" batchscope  quickstart ▸ What changes")
    assert lines[1].startswith("╭ accuracy ──")
    assert " pane" in lines[-1], "the picture is taken before its path is shown"

"""The pane of settings: what differs between configurations, then what they share."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from batchscope.engine.journal import events as ev
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Configuration, Scaling, trials_of
from batchscope.engine.task_table import TaskFacts, TaskTable
from batchscope.tui.config.panes import PANE_KEYS
from tests.functional.board.task_sweeps import task_configurations
from tests.functional.board_fixtures import TRAIN_SIZE, Recipe, configurations, finished_sweep, home
from tests.functional.boards import LARGE, SMALL, board_on, loaded, panes_seen, part, still

__all__ = ["home", "still"]
pytestmark = pytest.mark.usefixtures("still")
KEY = PANE_KEYS["settings"]


def scaled(label: str = "") -> tuple[Configuration, ...]:
    """Two batch sizes with a learning rate that follows them; the smaller has three seeds."""
    changed = []
    for each, seeds in zip(configurations((64, 1024)), ((0, 1, 2), (0, 1)), strict=True):
        scaling = Scaling(rule="linear", base_batch_size=64)
        settings = msgspec.structs.replace(each.settings, scaling=scaling)
        changed.append(
            msgspec.structs.replace(
                each, settings=settings, seeds=seeds, label=f"{label}{each.label}"
            )
        )
    return tuple(changed)


def planned(home: Path, chosen: tuple[Configuration, ...]) -> Path:
    """A sweep of which the batches of 1,024 are cut into four."""
    recipe = Recipe(home)
    recipe.open(chosen)
    recipe.ready(chosen)
    for configuration in chosen:
        plan = make_plan(trials_of(configuration)[0], TRAIN_SIZE, threads=1)
        if plan.batch_size == 1024:
            plan = msgspec.structs.replace(plan, micro_batch_size=256, accumulation_steps=4)
        recipe.say(ev.Planned(plan=plan))
    return recipe.folder


def lines_of(pilot: Pilot[str]) -> list[str]:
    return part(pilot.app, "pane-settings").splitlines()


def row_of(pilot: Pilot[str], start: str) -> str:
    """The row that begins with a word, with single spaces."""
    found = (" ".join(line.strip("│ ").split()) for line in lines_of(pilot))
    return next(line for line in found if line.startswith(start))


async def test_what_differs_comes_first_then_what_all_share(home: Path) -> None:
    async with board_on(planned(home, scaled())).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert panes_seen(pilot.app) == ["settings"]  # type: ignore[arg-type]
        assert row_of(pilot, "batch size") == "batch size scaled lr micro-batches seeds"
        assert row_of(pilot, "● 64") == "● 64 64 0.10 1 × 64 0, 1, 2"
        assert row_of(pilot, "▲ 1024") == "▲ 1024 1,024 1.60 4 × 256 0, 1"
        expected = {
            "data": "digits",
            "model": "mlp · hidden 128, 64",
            "optimizer": "sgd",
            "learning rate": "0.1",
            "lr scaling": "linear · base batch size 64",
            "budget": "20 epochs",
        }
        for name, text in expected.items():
            assert row_of(pilot, name) == f"{name} {text}"
        order = [line.split()[0] for line in lines_of(pilot) if line.split()]
        assert order.index("▲") < order.index("data")


async def test_seeds_that_all_share_are_named_once_and_rows_scroll(home: Path) -> None:
    async with board_on(finished_sweep(home)).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert row_of(pilot, "seeds") == "seeds 3: 0, 1, 2"
        assert "momentum" not in part(pilot.app, "pane-settings"), "sgd does not read it"
        before = lines_of(pilot)
        await pilot.press("end")
        assert lines_of(pilot) != before
        assert "data.validation 0" in part(pilot.app, "pane-settings")


async def test_without_room_for_columns_there_is_a_paragraph_each(home: Path) -> None:
    folder = planned(home, scaled("a rather long name for size "))
    async with board_on(folder).run_test(size=(40, 24)) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        shown = " ".join(part(pilot.app, "pane-settings").split())
        assert "▲ a rather long name for size 1024 batch size 1,024 · scaled lr 1.6" in shown
        assert all(len(line) <= 40 for line in lines_of(pilot))


async def test_before_a_plan_it_says_so(home: Path) -> None:
    recipe = Recipe(home)
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert "No settings" in part(app, "pane-settings")
    recipe.open(configurations())
    async with board_on(recipe.folder).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert "not planned yet" in row_of(pilot, "micro-batch")


async def test_it_takes_the_place_of_the_trials_while_it_is_current(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=LARGE) as pilot:
        board = await loaded(pilot)
        place = board.panes["trials"].region
        assert f"{KEY} settings" in part(app, "pane-trials")
        await pilot.press(KEY, KEY)
        assert "settings" in panes_seen(app)
        assert "trials" not in panes_seen(app)
        taken = board.panes["settings"].region
        assert (taken.x, taken.width, taken.bottom) == (place.x, place.width, place.bottom)
        await pilot.press("tab")
        assert "trials" in panes_seen(app)


@pytest.mark.parametrize(
    "target", [{"target_loss": 0.25}, {"target_metric": "mae", "target_value": 0.25}]
)
async def test_a_target_and_its_checks_are_shown(home: Path, target: dict[str, Any]) -> None:
    (of,) = configurations((64,))
    train = msgspec.structs.replace(of.settings.train, target_checks=4, **target)
    settings = msgspec.structs.replace(of.settings, train=train)
    chosen = (msgspec.structs.replace(of, settings=settings),)
    async with board_on(planned(home, chosen)).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert "0.25" in row_of(pilot, "budget")
        assert any("target_checks 4" in line for line in lines_of(pilot))


async def test_a_copy_has_every_setting(home: Path) -> None:
    app = board_on(planned(home, scaled()))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY, "c")
    (path,) = home.glob("copies/*-settings.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file, delimiter="\t")
    at = head.index("train.batch_size")
    assert [row[at] for row in rows] == ["64", "1,024"]
    assert [row[-1] for row in rows] == ["1 × 64", "4 × 256"]
    assert head[0] == "configuration"


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x45"])
def test_picture_of_the_settings(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    async def shown(pilot: Pilot[str]) -> None:
        await loaded(pilot)
        await pilot.press(*([KEY, KEY] if size == LARGE else [KEY]))

    assert snap_compare(board_on(planned(home, scaled())), terminal_size=size, run_before=shown)


@pytest.mark.parametrize(("brought", "shown"), [(0, True), (40, False)])
async def test_a_share_is_held_out_only_where_a_task_brings_no_validation_data(
    home: Path, brought: int, shown: bool
) -> None:
    task = TaskTable(use="mine:make", validation=0.1)
    (of,) = task_configurations((64,), 2)
    settings = msgspec.structs.replace(of.settings, task=task)
    recipe = Recipe(home)
    recipe.open((msgspec.structs.replace(of, settings=settings),))
    facts = TaskFacts(train=350, test=92, validation=brought, weights=385, metrics=())
    recipe.say(
        ev.DataReady(
            name=settings.data.name, train=350, test=92, shape=(0, 0, 0), digest="0", task=facts
        )
    )
    async with board_on(recipe.folder).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(KEY)
        assert ("validation 0.1" in row_of(pilot, "task")) == shown
        assert ("40 validation" in row_of(pilot, "samples")) == bool(brought)

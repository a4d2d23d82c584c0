"""Early and late norms, and what a probe drew, on the board."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.spec import Probe
from batchscope.engine.sweeps.store import load_state
from tests.functional.board_fixtures import (
    PROBED,
    Recipe,
    configurations,
    finished_sweep,
    home,
    probed_sweep,
)
from tests.functional.boards import SMALL, board_on, gradients, loaded, part, still

__all__ = ["home", "still"]

pytestmark = pytest.mark.usefixtures("still")


async def test_f_goes_through_what_is_early_and_late(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        pictures = [gradients(app)]
        for word in ("third", "half", "twentieth", "tenth", "fifth"):
            await pilot.press("f")
            assert f"early ░ first, late █ last {word}" in gradients(app)
            pictures.append(gradients(app))
        assert pictures[0] == pictures[-1]
        assert len(set(pictures)) == 5


async def test_the_share_is_of_the_steps(home: Path) -> None:
    """Of twenty epochs the norms of the last alone are the late twentieth."""
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("f", "f", "f")
        late = load_state(app.visited[0]).replicates("b8")[0].records[-1].norms[0].mean
        assert f"μ   {late:.2f} cv 0.30 late" in gradients(app)


def _apart(lines: Iterable[str]) -> int:
    """Columns between the peaks farthest apart."""
    peaks = [line.index("█") for line in lines if "█" in line]
    return max(peaks) - min(peaks)


async def test_n_brings_all_late_norms_to_one_mean(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        raw = gradients(app)
        await pilot.press("n")
        shown = gradients(app)
        assert "one mean" in shown.splitlines()[0]
        late = [line for line in shown.splitlines() if line.endswith("late")]
        assert len(late) == 4
        assert len({line.split("μ")[1] for line in late}) == 1
        assert _apart(late) < 6 < 20 < _apart(line for line in raw.splitlines() if "late" in line)
        for cv in ("cv 0.30", "cv 0.36"):
            assert shown.count(cv) == raw.count(cv)
        await pilot.press("n")
        assert gradients(app) == raw


async def test_a_sweep_without_a_probe_says_so(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        for key in "gG[]":
            await pilot.press(key)
            assert "this sweep has no probe: see [probe]" in part(app, "hints")
            await pilot.press("4")
            assert "no probe" not in part(app, "hints")


async def test_a_probe_that_is_still_to_come_is_awaited(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations((16,), seeds=1)
    asked = replace(chosen[0].settings, probe=Probe(at=(1.0,)))
    recipe.open((replace(chosen[0], settings=asked),))
    app = board_on(recipe.folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("g")
        assert "nothing has been probed yet" in part(app, "hints")


async def test_g_goes_through_what_was_probed(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("4")
        steps = gradients(app)
        seen = []
        for name, told in (
            ("probed norm", "μ   0.27 cv 0.30 cos 0.64"),
            ("gradient values", "κ   5.06 σ 0.00287"),
            ("competition 1+1 vs 2", "cosine        0.905"),
            ("competition 4×16 vs 64", "length ratio  3.600"),
        ):
            await pilot.press("g")
            seen.append(gradients(app))
            assert seen[-1].startswith(f" {name}  ")
            assert told in seen[-1] or name == "probed norm"
        await pilot.press("g")
        assert gradients(app) == steps
        await pilot.press("G")
        assert gradients(app) == seen[-1]


async def test_probed_sizes_have_a_row_each_under_their_configuration(home: Path) -> None:
    app = board_on(probed_sweep(home, (8, 16)))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        for press in ("g", "g"):
            await pilot.press(press)
            heads = [line for line in gradients(app).splitlines() if " B " in line]
            assert [line.split("B")[1].split()[0] for line in heads] == [*map(str, PROBED)] * 2
            assert ["●" in line for line in heads] == [True, False, False, False, False, False]
            assert heads[3].startswith(" ▲ 16 B  1")


async def test_probed_norms_can_be_normalized_too(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("g", "n")
        rows = [line for line in gradients(app).splitlines() if "cv" in line]
        assert len({line.split("μ")[1].split()[0] for line in rows}) == 1


async def test_brackets_go_through_the_moments(home: Path) -> None:
    app = board_on(probed_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("[")
        assert "g shows" in part(app, "hints")
        await pilot.press("g")
        pictures = [gradients(app)]
        assert "at 100 % of the budget (3 of 3)" in pictures[0]
        for told in ("50 % of the budget (2 of 3)", "0 % of the budget (1 of 3)"):
            await pilot.press("[")
            assert told in gradients(app)
            pictures.append(gradients(app))
        await pilot.press("[")
        assert "nothing was probed earlier" in part(app, "hints")
        await pilot.press("]", "]")
        assert gradients(app) == pictures[0]
        await pilot.press("]")
        assert "nothing was probed later" in part(app, "hints")
        assert len(set(pictures)) == 3

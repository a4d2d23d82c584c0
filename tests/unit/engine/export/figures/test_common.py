"""Where the figures of a report put what they draw: inside, apart, and around its batch size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.export import plot_style
from batchscope.engine.export.export_reader import ExportedFigures, ExportedFindings
from batchscope.engine.export.figures.common import (
    MOST,
    Cast,
    along,
    beside,
    cast_of,
    dots,
    foremost,
)
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.journal.events import AnyEvent, SweepOpened
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim
from tests.unit.engine.export.figures.figure_fixtures import cast
from tests.unit.engine.findings_fixtures import configuration as configured
from tests.unit.engine.findings_fixtures import sweep
from tests.unit.training_fixtures import configuration, ended, epochs, opened, record, started


def places(of: Cast) -> list[float]:
    return [x for _, x in beside(of, of.names)]


def test_one_of_each_size_lies_at_its_size() -> None:
    assert places(cast(8, 64, 512)) == [8, 64, 512]
    assert places(cast()) == []


def test_rivals_lie_to_both_sides_of_their_size() -> None:
    assert places(cast(64, 64)) == pytest.approx([64 / 1.3**0.5, 64 * 1.3**0.5])
    assert places(cast(64, 64, 64)) == pytest.approx([64 / 1.3, 64, 64 * 1.3])
    assert places(cast(*[64] * 7))[::6] == pytest.approx([64 / 3**0.5, 64 * 3**0.5])
    assert places(cast(8, 64, 64))[1:] == pytest.approx([64 / 8**0.0225, 64 * 8**0.0225])


@given(st.lists(st.sampled_from([8, 16, 17, 64, 2048]), min_size=1, max_size=24))
def test_all_are_inside_the_axis_and_no_size_reaches_another(sizes: list[int]) -> None:
    of = cast(*sorted(sizes))
    at = places(of)
    assert at == sorted(at)
    assert len(set(at)) == len(at)
    for place, name in zip(at, of.names, strict=True):
        nearest = min(sizes, key=lambda size: max(size / place, place / size))
        assert nearest == of.size(name)
    with plot_style.styled("key"):
        _, axes = plot_style.new("A title", "batch size", "accuracy")
        along(axes, of, of.names)
        left, right = axes.get_xlim()
    assert left * 1.4 < at[0] <= at[-1] < right / 1.4


def test_what_stands_first_is_kept_where_there_is_no_room_for_all() -> None:
    every = [f"n{at}" for at in range(40)]
    kept = foremost(every, (["n17"], ["n30", "n3"], ["gone"]), 5)
    assert kept == ["n0", "n3", "n17", "n30", "n39"]
    assert foremost(every, (["n17"], every[20:]), 3) == ["n17", "n20", "n39"]
    assert foremost(every, (["n17"], ["n30", "n3"]), 1) == ["n17"]
    assert foremost(every[:4], (["n2"],), 5) == every[:4]
    assert foremost(every, (), 3) == ["n0", "n20", "n39"]


def test_the_recommended_and_the_claimed_are_drawn_among_many() -> None:
    made = [configuration(size, seeds=3) for size in range(1, 41)]
    claim = Claim(
        statement="s", measure="test_accuracy", left={"train.batch_size": 7},
        relation="greater", right={"train.batch_size": 29},
    )  # fmt: skip
    first, *rest = opened(made)
    assert isinstance(first, SweepOpened)
    events: list[AnyEvent] = [replace(first, claims=(claim,)), *rest]
    for each in made:
        for seed in each.seeds:
            best = 0.9 if each.id == "b18" else 0.5
            events += [
                started(each, seed),
                epochs(each, record(1, test_accuracy=best + seed / 1e4), seed=seed),
                ended(each, seed),
            ]
    of = cast_of(SweepState().fold(events), ExportedFindings((), "", ExportedFigures()))
    assert len(of.names) == MOST
    assert of.left_out == 40 - MOST
    assert {"b1", "b7", "b18", "b29", "b40"} <= set(of.names)
    assert list(of.names) == sorted(of.names, key=of.size)
    assert {"b7", "b18", "b29"} <= set(foremost(of.names, of.tiers, 4))


def test_single_seeds_are_drawn_beside_their_mean_inside_the_axes() -> None:
    seeds = [0.5, 0.9, 0.1]  # the last is far below the interval of the mean
    state = sweep([(configured(8), seeds), (configured(64), [0.7, 0.7, 0.7])])
    told = ExportedFindings(
        claims=(), recommendation="", findings=ExportedFigures(tuple(figures(state)))
    )
    of = cast_of(state, told)
    with plot_style.styled("key"):
        _, axes = plot_style.new("A title", "batch size", "%")
        known = of.means("test_accuracy")
        dots(axes, of, known, 100.0, of.singles("test_accuracy"))
        low, high = axes.get_ylim()
        drawn = [line for line in axes.lines if line.get_marker() == "."]
    assert [list(line.get_ydata()) for line in drawn] == [[50, 90, 10], [70, 70, 70]]  # type: ignore[arg-type]
    assert low < 10 < 90 < high
    assert of.missing(known) == " 8: 1 of 3 seeds collapsed or learned nothing: 2."

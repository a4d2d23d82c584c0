"""Where the figures of a report put what they draw: inside, apart, and around its batch size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export import drawing
from engine.export.exported import Figured, Told
from engine.export.figures.common import Cast, along, beside
from engine.spec import Configuration
from engine.state import SweepState
from tests.unit.training_fixtures import configuration, opened


def cast(*sizes: int) -> Cast:
    made: list[Configuration] = [
        configuration(size, name=f"c{at}", lr=0.1 + at) for at, size in enumerate(sizes)
    ]
    state = SweepState().fold(opened(made))
    told = Told(claims=(), recommendation="", findings=Figured())
    return Cast(state, told, tuple(each.id for each in made))


def places(of: Cast) -> list[float]:
    return [x for _, x in beside(of, of.names)]


def test_one_of_each_size_lies_at_its_size() -> None:
    assert places(cast(8, 64, 512)) == [8, 64, 512]
    assert places(cast()) == []


def test_rivals_lie_to_both_sides_of_their_size() -> None:
    assert places(cast(64, 64)) == pytest.approx([64 / 1.05**0.5, 64 * 1.05**0.5])
    assert places(cast(64, 64, 64)) == pytest.approx([64 / 1.05, 64, 64 * 1.05])


@given(st.lists(st.sampled_from([8, 16, 17, 64, 2048]), min_size=1, max_size=24))
def test_all_are_inside_the_axis_and_no_size_reaches_another(sizes: list[int]) -> None:
    of = cast(*sorted(sizes))
    at = places(of)
    assert at == sorted(at)
    assert len(set(at)) == len(at)
    for place, name in zip(at, of.names, strict=True):
        nearest = min(sizes, key=lambda size: max(size / place, place / size))
        assert nearest == of.size(name)
    with drawing.styled("key"):
        _, axes = drawing.new("A title", "batch size", "accuracy")
        along(axes, of, of.names)
        left, right = axes.get_xlim()
    assert left * 1.4 < at[0] <= at[-1] < right / 1.4

"""Bands, what lies behind, and lines to far away, against a naive raster."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchscope.tui.render.axis import FAR, Axis, axis_over
from batchscope.tui.render.braille import HAIR, NOWHERE, Band, Grid, Series, places
from batchscope.tui.render.styled_text import text_of
from tests.unit.tui.render.braille_fixtures import dots_of

anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
usual = st.floats(min_value=-1e3, max_value=1e3)
values = st.one_of(anything, usual, st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf]))
banded = st.lists(st.tuples(values, values, values), max_size=12)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 6))
axes = st.one_of(
    st.tuples(st.sampled_from([-1.0, 0.0]), st.sampled_from([1.0, 50.0]), st.just(False)),
    st.tuples(st.sampled_from([0.001, 1.0]), st.sampled_from([10.0, 1e3]), st.just(True)),
).map(lambda drawn: Axis(*drawn))


def naive_band(band: Band, x: Axis, y: Axis, columns: int, rows: int) -> set[tuple[int, int]]:
    """Column after column between each two points, by exact arithmetic."""
    width, height = columns * 2, rows * 4
    top, bottom = dict.fromkeys(range(width), height), dict.fromkeys(range(width), -1)

    def take(at: int, high: int, low: int) -> None:
        if 0 <= at < width:
            top[at], bottom[at] = min(top[at], high), max(bottom[at], low)

    before: tuple[int, int, int] | None = None
    for px, low, high in band.points:
        at, up = x.place(px, width), y.place(high, height)
        down = y.place(low, height)
        if down is None and not math.isnan(low):
            down = -FAR
        if at is None or up is None or down is None:
            before = None
            continue
        point = (at, height - 1 - up, height - 1 - down)
        take(*point)
        if before and before[0] != at:
            for column in range(max(0, min(before[0], at)), min(width - 1, max(before[0], at)) + 1):
                share = Fraction(column - before[0], at - before[0])
                edges = (a + share * (b - a) for a, b in zip(before[1:], point[1:], strict=True))
                take(column, *(math.floor(edge + Fraction(1, 2)) for edge in edges))
        elif before:
            take(*before)
        before = point
    lit = {(at, row) for at in top for row in range(height) if top[at] <= row <= bottom[at]}
    return {(at, row) for at, row in lit if (row + 2 * at) % 4 == 1}


@settings(max_examples=300, deadline=None)
@given(banded, sizes, axes, axes)
def test_a_band_equals_the_naive_one(
    drawn: list[tuple[float, float, float]], size: tuple[int, int], x: Axis, y: Axis
) -> None:
    band, grid = Band(drawn), Grid(*size)
    grid.draw(band, x, y)
    assert dots_of(grid) == naive_band(band, x, y, *size)


def test_a_band_shows_only_where_no_line_passes() -> None:
    x, y = Axis(0, 19), Axis(0, 19)
    line = Series([(0.0, 10.0), (19.0, 10.0)], "line")
    band = Band([(0.0, 0.0, 19.0), (19.0, 0.0, 19.0)], "band")
    alone, both = Grid(10, 5), Grid(10, 5)
    alone.draw(line, x, y)
    both.draw(line, x, y)
    both.draw(band, x, y)  # the order does not matter
    for with_band, without in zip(both.lines(), alone.lines(), strict=True):
        if text_of(without).strip():
            assert with_band == without
        else:
            assert with_band == (("⢂" * 10, "band"),)


def test_background_series_are_visible_only_in_cells_without_lines() -> None:
    x, y = Axis(0, 3), Axis(0, 3)
    grid = Grid(2, 1)
    grid.draw(Band([(0.0, 0.0, 3.0), (3.0, 0.0, 3.0)], "band"), x, y)
    grid.draw(Series([(0.0, 3.0), (3.0, 3.0)], "raw", behind=True), x, y)
    assert grid.lines() == [(("⠉⠉", "raw"),)]
    grid.draw(Series([(0.0, 0.0), (1.0, 0.0)], "line"), x, y)
    assert grid.lines() == [(("⣀", "line"), ("⠉", "raw"))]


def test_a_hair_passes_behind_lines_and_before_bands() -> None:
    x, y = Axis(0, 3), Axis(0, 7)
    grid = Grid(2, 2)
    grid.draw(Band([(0.0, 0.0, 7.0), (3.0, 0.0, 7.0)], "band"), x, y)
    grid.draw(Series([(0.0, 7.0), (3.0, 7.0)], "line"), x, y)
    grid.hair(1, "hair")
    grid.hair(7, "outside")
    assert grid.lines() == [(("⠉⠉", "line"),), (("⢂", "band"), (HAIR, "hair"))]


@example([1e308, -1e308, 5e-324], Axis(-1.75e308, 1.75e308), 7)
@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=20), axes, st.integers(1, 200))
def test_places_are_those_of_the_axis(drawn: list[float], axis: Axis, dots: int) -> None:
    found = places(axis, np.array(drawn, dtype=np.float64), dots)
    expected = [axis.place(value, dots) for value in drawn]
    assert found.tolist() == [NOWHERE if place is None else place for place in expected]


@settings(deadline=None)
@given(st.lists(values, max_size=20), st.booleans(), st.integers(1, 200))
def test_places_over_the_values_are_those_of_the_axis(
    drawn: list[float], log: bool, dots: int
) -> None:
    axis = axis_over(drawn, log)
    found = places(axis, np.array(drawn, dtype=np.float64), dots)
    expected = [axis.place(value, dots) for value in drawn]
    assert found.tolist() == [NOWHERE if place is None else place for place in expected]


@pytest.mark.parametrize("factor", [1, 2, 10])
def test_a_line_to_a_point_outside_leaves_where_it_should(factor: int) -> None:
    """The same straight line, whether its second point is at the border or far beyond."""
    near, far = Grid(10, 5), Grid(10, 5)
    x, y = Axis(0, 19), Axis(0, 19)
    near.draw(Series([(0.0, 0.0), (19.0, 19.0)]), x, y)
    far.draw(Series([(0.0, 0.0), (19.0 * factor, 19.0 * factor)]), x, y)
    assert dots_of(near) == dots_of(far)


def test_a_line_from_far_to_far_passes_through() -> None:
    grid = Grid(10, 5)
    grid.draw(Series([(-19.0, -19.0), (38.0, 38.0)]), Axis(0, 19), Axis(0, 19))
    assert dots_of(grid) == {(at, 19 - at) for at in range(20)}


def test_no_spike_is_lost_among_thousands_of_points() -> None:
    spiked = [(float(at), 1.0 if at == 7321 else 0.0) for at in range(20_000)]
    grid = Grid(10, 5)
    grid.draw(Series(spiked), Axis(0, 19_999), Axis(0, 1))
    column = round(7321 / 19_999 * 19)
    assert {(column, row) for row in range(20)} <= dots_of(grid)
    assert {row for at, row in dots_of(grid) if at != column} == {19}

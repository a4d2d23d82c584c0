"""The raster against a naive one that draws every line between every two points."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchscope.engine.errors import printable
from batchscope.tui.render.axis import Axis, axis_over, label, ticks
from batchscope.tui.render.block_bars import bar, blocks, gauge, resample
from batchscope.tui.render.braille import BRAILLE, Grid, Series
from batchscope.tui.render.chart import chart
from batchscope.tui.render.styled_text import clip, fit, row, spread, text_of, width_of, wrap
from tests.unit.tui.render.braille_fixtures import dots_of

anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
usual = st.floats(min_value=-1e6, max_value=1e6)
values = st.one_of(anything, usual, st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf]))
points = st.lists(st.tuples(values, values), max_size=40)
constant = st.tuples(values, st.integers(1, 30)).map(
    lambda drawn: [(float(x), drawn[0]) for x in range(drawn[1])]
)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 6))


def naive_dots(series: Series, x: Axis, y: Axis, columns: int, rows: int) -> set[tuple[int, int]]:
    """Every dot, by exact arithmetic, segment after segment, with nothing reduced."""
    width, height = columns * 2, rows * 4
    runs: list[list[tuple[int, int]]] = [[]]
    for px, py in series.points:
        at, up = x.place(px, width), y.place(py, height)
        if at is None or up is None:
            runs.append([])
        else:
            runs[-1].append((at, height - 1 - up))
    lit: set[tuple[int, int]] = set()
    for run in runs:
        dots = set(run)
        for (x0, y0), (x1, y1) in itertools.pairwise(run):
            steps = max(abs(x1 - x0), abs(y1 - y0))
            for step in range(1, steps):
                share = Fraction(step, steps)
                dots.add(
                    (
                        math.floor(x0 + share * (x1 - x0) + Fraction(1, 2)),
                        math.floor(y0 + share * (y1 - y0) + Fraction(1, 2)),
                    )
                )
        single = all(at == run[0][0] for at, _ in run)
        if series.dashed and not single:
            dots = {(at, down) for at, down in dots if at % 4 < 2}
        lit |= dots
    return {(at, down) for at, down in lit if 0 <= at < width and 0 <= down < height}


def check(many: list[Series], x: Axis, y: Axis, size: tuple[int, int]) -> None:
    grid = Grid(*size)
    expected: set[tuple[int, int]] = set()
    for series in many:
        grid.draw(series, x, y)
        expected |= naive_dots(series, x, y, *size)
    assert dots_of(grid) == expected


@given(st.lists(st.tuples(points, st.booleans()), max_size=3), sizes, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_the_naive_raster(
    drawn: list[tuple[list[tuple[float, float]], bool]],
    size: tuple[int, int],
    log_x: bool,
    log_y: bool,
) -> None:
    many = [Series(each, dashed=dashed) for each, dashed in drawn]
    x = axis_over((px for series in many for px, _ in series.points), log_x)
    y = axis_over((py for series in many for _, py in series.points), log_y)
    check(many, x, y, size)


@given(constant, sizes, st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_the_naive_raster_on_constant_and_single_point_series(
    drawn: list[tuple[float, float]], size: tuple[int, int], log: bool, dashed: bool
) -> None:
    y = axis_over((value for _, value in drawn), log)
    check([Series(drawn, dashed=dashed)], axis_over(px for px, _ in drawn), y, size)


@given(points, sizes)
@settings(max_examples=40, deadline=None)
def test_equals_the_naive_raster_where_points_lie_outside(
    drawn: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    check([Series(drawn)], Axis(-1.0, 1.0), Axis(0.5, 2.0), size)


def test_a_thousand_points_a_column_draw_what_their_extremes_do() -> None:
    noisy = [(float(i), math.sin(i * 1.7) * (i % 97)) for i in range(20_000)]
    check([Series(noisy)], Axis(0, 19_999), axis_over(v for _, v in noisy), (20, 5))


def test_a_single_point_is_seen_even_when_dashed() -> None:
    grid = Grid(4, 2)
    grid.draw(Series([(3.0, 0.5)], dashed=True), Axis(0, 7), Axis(0, 1))
    assert len(dots_of(grid)) == 1


def test_no_points_draw_nothing() -> None:
    grid = Grid(3, 2)
    grid.draw(Series([]), Axis(0, 1), Axis(0, 1))
    assert [text_of(line) for line in grid.lines()] == ["   ", "   "]


def test_where_series_overlap_dots_merge_and_the_last_gives_the_style() -> None:
    grid = Grid(1, 1)
    grid.draw(Series([(0, 0)], "a"), Axis(0, 1), Axis(0, 3))
    grid.draw(Series([(1, 3)], "b"), Axis(0, 1), Axis(0, 3))
    assert grid.lines() == [((chr(BRAILLE + 0x40 + 0x08), "b"),)]


def test_nan_interrupts_a_line() -> None:
    whole, broken = Grid(5, 1), Grid(5, 1)
    whole.draw(Series([(0, 0), (5, 0), (9, 0)]), Axis(0, 9), Axis(0, 1))
    broken.draw(Series([(0, 0), (5, math.nan), (9, 0)]), Axis(0, 9), Axis(0, 1))
    assert len(dots_of(whole)) == 10
    assert dots_of(broken) == {(0, 3), (9, 3)}


@example([1.1e308], True)
@example([-1.75e308], False)
@given(st.lists(values, max_size=20), st.booleans())
def test_every_value_that_has_a_place_lies_on_the_axis_over_all(
    drawn: list[float], log: bool
) -> None:
    axis = axis_over(drawn, log)
    assert axis.low < axis.high or not drawn
    for value in drawn:
        place = axis.place(value, 40)
        usable = math.isfinite(value) and (value > 0 or not log)
        assert (place is not None) == usable
        assert place is None or 0 <= place < 40


@given(st.lists(values, max_size=20), st.booleans(), st.integers(1, 12))
def test_ticks_are_on_the_axis_in_order_and_few(drawn: list[float], log: bool, count: int) -> None:
    axis = axis_over(drawn, log)
    found = [value for value, _ in ticks(axis, count)]
    assert found == sorted(found)
    assert len(found) <= max(2, count + 1)
    for value in found:
        place = axis.place(value, 1000)
        assert place is not None
        assert 0 <= place < 1000


@pytest.mark.parametrize(
    ("axis", "count", "expected"),
    [
        (Axis(0, 20), 5, ["0", "5", "10", "15", "20"]),
        (Axis(0.9, 1.0), 5, ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]),
        (Axis(0.001, 10, log=True), 6, ["0.001", "0.01", "0.1", "1", "10"]),
        (Axis(0.02, 0.9, log=True), 6, ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        (Axis(0, 2_000_000), 3, ["0", "1e6", "2e6"]),
    ],
)
def test_tick_labels(axis: Axis, count: int, expected: list[str]) -> None:
    assert [name for _, name in ticks(axis, count)] == expected


def test_labels_carry_the_decimals_of_their_step() -> None:
    assert [label(0.5, 0.05), label(12_000, 1000), label(-0.5, 0.1)] == ["0.50", "12,000", "-0.5"]


@given(st.lists(st.tuples(usual, usual), max_size=20), st.integers(0, 60), st.integers(0, 20))
@settings(deadline=None)
def test_a_chart_fills_its_size_and_never_more(
    drawn: list[tuple[float, float]], width: int, height: int
) -> None:
    x, y = axis_over(px for px, _ in drawn), axis_over(py for _, py in drawn)
    marks = [(0.0, 0.0, "●", "")]

    def draw(grid: Grid) -> None:
        grid.draw(Series(drawn), x, y)

    rows = chart(draw, x, y, (width, height), marks, hair=1.0)
    assert len(rows) in (0, height)
    assert all(width_of(line) <= width for line in rows)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "    "),
        (1e-9, "▏   "),
        (0.5, "██  "),
        (0.53125, "██▏ "),
        (1, "████"),
        (7, "████"),
        (-1, "    "),
        (math.nan, "    "),
        (math.inf, "    "),
    ],
)
def test_bars_are_drawn_to_an_eighth(share: float, expected: str) -> None:
    assert bar(share, 4) == expected


@given(st.floats(), st.integers(0, 30))
def test_bars_and_gauges_have_their_width(share: float, width: int) -> None:
    done, rest = gauge(share, width)
    assert len(bar(share, width)) == len(done + rest) == width


def test_a_gauge_is_full_only_at_the_end() -> None:
    assert gauge(0.999, 10) == ("━━━━━━━━━╸", "")
    assert gauge(1.0, 10) == ("━━━━━━━━━━", "")


@given(st.dictionaries(st.integers(0, 60), st.integers(1, 1000)), st.integers(1, 50))
def test_resampling_loses_no_count(bins: dict[int, int], columns: int) -> None:
    assert sum(resample(bins, 0.0, 61.0, columns)) == pytest.approx(sum(bins.values()))


def test_resampling_shares_a_bin_out_in_proportion() -> None:
    assert resample({0: 3, 1: 6}, 0.0, 2.0, 3) == pytest.approx([2.0, 3.0, 4.0])
    assert resample({5: 9}, 0.0, 2.0, 3) == [0.0, 0.0, 0.0]
    assert resample({0: 1}, 0.0, 0.0, 3) == [0.0, 0.0, 0.0]
    assert resample({0: 1}, 0.0, 1.0, 0) == []


def test_blocks_show_anything_above_nothing() -> None:
    assert blocks([0, 1e-9, 4, 8, math.nan, math.inf]) == " ▁▄█  "
    assert blocks([0, 0]) == "  "
    assert blocks([]) == ""


@given(st.lists(st.text(max_size=8), max_size=6), st.integers(0, 30), st.text(max_size=8))
def test_rows_take_exactly_their_width(texts: list[str], width: int, right: str) -> None:
    line = row(*(printable(text) for text in texts))
    assert width_of(fit(line, width)) == width
    assert width_of(clip(line, width)) <= width
    assert width_of(spread(line, row(printable(right)), width)) == width


@given(st.text(max_size=60), st.integers(2, 20))
def test_wrapped_text_stays_within_its_width_and_keeps_every_letter(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join(map(text_of, lines)).replace(" ", "") == printable(text).replace(" ", "")


def test_a_clipped_row_ends_with_an_ellipsis() -> None:
    assert text_of(clip(row("batch", " size"), 7)) == "batch …"
    assert text_of(clip(row("批次大小"), 5)) == "批次…"

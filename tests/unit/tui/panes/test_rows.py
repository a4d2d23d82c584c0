"""Curves, bars and gradients: the pure parts of what the panes draw."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.norm_histogram import BINS_PER_DECADE, LOWEST, Norms, signed_edges
from batchscope.tui.config.keymap import commands_at
from batchscope.tui.panes.gradients import probe_data
from batchscope.tui.panes.gradients.competition import arrows
from batchscope.tui.panes.gradients.norm_histogram import Histogram, heights, norm_rows
from batchscope.tui.panes.gradients.value_histogram import (
    Valued,
    columns_of,
    signed_axis,
    span,
    value_rows,
)
from batchscope.tui.render.arrows import Arrow, axes, plane
from batchscope.tui.render.block_bars import LEVELS, blocks, stacked
from batchscope.tui.render.styled_text import Row, row, text_of
from batchscope.tui.render.units import deviation, figure, places, significant
from batchscope.tui.viewmodel.quantities import AXLES, ERROR, QUANTITIES
from batchscope.tui.widgets.key_hints import hints
from tests.unit.training_fixtures import configuration, epochs, opened, record, started

SOME = st.lists(st.floats(0, 1e6), min_size=1, max_size=30)


def texts(rows: Iterable[Row]) -> list[str]:
    return [text_of(line) for line in rows]


# ---- what can be drawn


def test_the_figures_of_an_epoch() -> None:
    piece = ev.NormSlice(0, 2, 3.0, 2.0, 10, (2,))  # 2 and 4
    of = ev.EpochRecord(
        epoch=1,
        steps=2,
        samples=9,
        lr=0.1,
        train_loss=0.25,
        train_accuracy=0.75,
        test_loss=0.5,
        test_accuracy=0.625,
        seconds=1.0,
        epoch_samples=9,
        weight_norm=7.0,
        distance_from_init=5.0,
        norms=(piece,),
        update_norm_mean=0.125,
        noise_scale=12.0,
        last_batch_size=3,
        validation_loss=0.25,
        validation_accuracy=0.75,
    )
    found = {each.name: each.test(of) for each in QUANTITIES}
    assert found == {
        "accuracy": 0.625,
        "loss": 0.5,
        "generalization gap": 0.125,
        "distance from init": 5.0,
        "weight norm": 7.0,
        "mean gradient norm": 3.0,
        "gradient norm cv": math.sqrt(2) / 3,
        "gradient noise scale": 12.0,
        "mean update norm": 0.125,
        "learning rate": of.lr,
        "batch size": 3,
        "validation accuracy": 0.75,
        "validation loss": 0.25,
        "cosine of successive gradients": None,
    }
    twins = {each.name: each.train(of) for each in QUANTITIES if each.train}
    assert twins == {"accuracy": 0.75, "loss": 0.25}
    assert ERROR.train is not None
    assert (ERROR.test(of), ERROR.train(of)) == (0.375, 0.25)
    assert [axle.along for axle in AXLES] == ["epochs", "steps", "samples", "seconds", "distance"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.9875, 1.0], ["0.9875", "1.0000"]),
        ([12.3456, 0.5], ["12.346", "0.500"]),
        ([9.99996, 1.0], ["10.000", "1.000"]),
        ([9999.96, 1.0], ["10000", "1"]),
        ([123.456, 0.01], ["123.46", "0.01"]),
        ([4e-5, 2e-6], ["4.0e-5", "2.0e-6"]),
        ([123456.0], ["1.2e5"]),
        ([0.0], ["0.0000"]),
        ([math.inf, 1.0], ["–", "1.0000"]),
    ],
)
def test_a_column_of_figures_fills_six_cells(values: list[float], shown: list[str]) -> None:
    decimals = places(values)
    assert [figure(value, decimals) for value in values] == shown
    assert all(len(text) <= 6 for text in shown)


def test_a_deviation_has_the_decimals_of_its_column() -> None:
    assert [deviation(0.0071, 4), deviation(1.5, 3), deviation(3e-6, None)] == [
        *["±.0071", "±1.500", "±3.0e-6"],
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.05123, "0.0512"), (0.0099996, "0.0100"), (1.234, "1.23"), (394, "394"), (None, "–")],
)
def test_three_digits_that_count(value: float | None, shown: str) -> None:
    assert significant(value) == shown


# ---- histograms


@settings(deadline=None)
@given(SOME, st.integers(1, 6))
def test_stacked_blocks_are_as_high_as_blocks_of_one_row_say(
    values: list[float], rows: int
) -> None:
    stack = stacked(values, rows)
    assert len(stack) == rows
    assert stacked(values, 1) == [blocks(values)]
    peak = max(values)
    for column, value in enumerate(values):
        eighths = sum(LEVELS.index(line[column]) for line in stack)
        if value > 0 and peak > 0:
            assert eighths == max(1, round(value / peak * 8 * rows))
        else:
            assert eighths == 0


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 60))
def test_histograms_and_their_axis_fit_the_area(count: int, height: int) -> None:
    tall, gap = heights(count, height)
    assert 1 <= tall <= 4
    if height > count:
        assert count * (tall + gap) + 1 <= height


def normed(mean: float, cv: float = 0.5, tag: str = "") -> Histogram:
    """Hundred norms around a mean, in three bins."""
    centre = round((math.log10(mean) - LOWEST) * BINS_PER_DECADE) + 1
    piece = ev.NormSlice(0, 100, mean, 99 * (cv * mean) ** 2, centre - 1, (25, 50, 25))
    return Histogram(row("● 8 "), "s0", Norms([piece]), tag)


def test_normalized_norms_lie_at_one_place_with_their_spread_unchanged() -> None:
    shown = [normed(0.01, 0.5), normed(1.0, 0.25), normed(10.0, 0.125)]
    raw = texts(norm_rows(shown, 60, 4, normalized=False))
    places = [line.index("█") for line in raw[:3]]
    assert places[1] - places[0] == pytest.approx(2 * (places[2] - places[1]), abs=2)
    rows = texts(norm_rows(shown, 60, 4, normalized=True))
    assert len({line.partition("cv")[0] for line in rows[:3]}) == 1
    mean = (0.01 + 1 + 10) / 3
    assert [line.partition("cv")[2].split() for line in rows[:3]] == [
        [cv, "μ", f"{mean:.2f}"] for cv in ("0.50", "0.25", "0.12")
    ]
    axis = rows[3]
    assert axis.index("╵3.5") < rows[0].index("█") + 4 < axis.index("╵4.0")


def test_early_norms_are_scaled_by_the_factor_of_the_late_ones() -> None:
    def pair(early: float, late: float) -> Histogram:
        return Histogram(row("● "), "s0", normed(late).part, "late", normed(early).part)

    rows = texts(norm_rows([pair(4.0, 1.0), pair(6.0, 3.0)], 80, 20, normalized=True))
    means = [line.split("μ")[1].split()[0] for line in rows if "μ" in line]
    assert means == ["8.00", "2.00", "4.00", "2.00"]


def test_norms_that_are_none_and_norms_of_zero_are_drawn() -> None:
    nothing = Histogram(row("● "), "s0", Norms([ev.NormSlice(0, 0, 0.0, 0.0, 0, (), 7)]))
    zeros = Histogram(row("▲ "), "s1", Norms([ev.NormSlice(0, 5, 0.0, 0.0, 0, (5,))]))
    for normalized in (False, True):
        rows = texts(norm_rows([nothing, zeros], 60, 6, normalized))
        assert any("7 not finite" in line for line in rows)


def test_values_that_are_none_are_drawn_as_nothing() -> None:
    nothing = probe_data.Values({}, None, None)
    rows = texts(value_rows([Valued(row("● "), "s0", nothing)] * 2, 60, 9))
    assert all(line.split() in ([], ["●", "κ", "–", "σ", "–"]) for line in rows[:-1])


def test_values_span_all_but_the_smallest_thousandth() -> None:
    assert span([{127: 999, -100: 1}]) == (127, 127)
    assert span([{127: 998, -100: 2}]) == (100, 127)
    assert span([{0: 5}]) == (126, 127)
    assert span([{127: 1}, {-130: 1}]) == (127, 130)


def test_columns_of_values_are_mirrored_about_the_middle() -> None:
    bins = {-102: 9, -101: 99, 0: 3, 50: 4, 101: 999, 102: 0}
    assert columns_of(bins, 101, 102, 2) == pytest.approx(
        [math.log(10), math.log(100), math.log(8), math.log(1000), 0.0]
    )


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(-254, 254), st.integers(1, 10**9), min_size=1),
    st.integers(1, 80),
)
def test_no_value_is_lost_between_the_columns(bins: dict[int, int], half: int) -> None:
    low, high = span([bins])
    heights = columns_of(bins, low, high, half)
    assert len(heights) == 2 * half + 1
    assert sum(math.expm1(height) for height in heights) == pytest.approx(sum(bins.values()))


def test_the_signed_axis_names_the_same_magnitudes_on_both_sides() -> None:
    low, high = 127 - 10, 127 + 3  # from 2^-10 to 2^4
    assert signed_edges(low)[0] == 2**-10
    axis = signed_axis(low, high, 28)
    assert axis.index("╵0 ") == 28
    columns = {name: axis.index(name) for name in ("╵0.01", "╵1 ")}
    for name, at in columns.items():
        right = name.strip("╵ ")
        assert axis.index(f"-{right}╵") + len(right) + 1 == 56 - at
        share = (math.log2(float(right)) + 10) / 14
        assert at == 29 + int(share * 28)


# ---- probes


def probed(small: ev.Competition | None = None, *draws: ev.Draws, seed: int = 0) -> ev.Probed:
    return ev.Probed(
        trial=f"b8-s{seed}",
        attempt=1,
        at_share=0.5,
        epoch=2,
        steps=4,
        samples=32,
        seconds=1.0,
        draws=draws,
        competitions=(small,) if small else (),
    )


def competition(cosine: tuple[float, float], draws: int, *x: float) -> ev.Competition:
    examples = tuple(ev.Competing(v, (v, v / 2), (v / 4, -v), 2 * v) for v in x)
    nothing = (0.5, 0.0)
    return ev.Competition(2, 8, draws, 0.1, cosine, nothing, nothing, nothing, examples)


def drawn(norms: ev.NormSlice, kurtosis: float, bins: dict[int, int]) -> ev.Draws:
    values = ev.ValueBins(sum(bins.values()), 0.0, 1.0, kurtosis, tuple(bins.items()))
    return ev.Draws(4, norms, values, 0.25)


def held(*probes: ev.Probed) -> SweepState:
    b8 = configuration(8, seeds=2)
    begun = [started(b8, 0), started(b8, 1), epochs(b8, record(1))]
    return SweepState().fold([*opened([b8]), *begun, *probes])


def test_draws_of_the_seeds_are_put_together() -> None:
    one = drawn(ev.NormSlice(0, 2, 1.0, 0.5, 7, (2,)), 3.0, {0: 5, 100: 1})
    other = drawn(ev.NormSlice(0, 2, 3.0, 0.5, 8, (2,)), 5.0, {100: 2, -90: 4})
    state = held(probed(None, one), probed(None, other, seed=1))
    assert probe_data.moments(state) == [0.5]
    assert probe_data.has_draws(state)
    assert probe_data.drawn_at(state, ["b8"], 1.0) == []
    (found,) = probe_data.drawn_at(state, ["b8"], 0.5)
    assert (found.configuration, found.batch_size, found.cosine) == ("b8", 4, 0.25)
    assert (found.norms.count, found.norms.mean, found.norms.bins) == (4, 2.0, {7: 2, 8: 2})
    assert found.values.kurtosis == 4.0
    assert found.values.bins == {0: 5, 100: 3, -90: 4}
    assert found.values.std == pytest.approx(1.0, rel=0.1)


def test_draws_that_were_no_numbers_have_no_values() -> None:
    broken = ev.Draws(4, ev.NormSlice(0, 0, 0.0, 0.0, 0, (), 9), None, None)
    (found,) = probe_data.drawn_at(held(probed(None, broken)), ["b8"], 0.5)
    assert found.values == probe_data.Values({}, None, None)
    assert (found.cosine, found.norms.broken) == (None, 9)


def test_competitions_of_the_seeds_are_put_together() -> None:
    state = held(
        probed(competition((1.0, 0.0), 2, 1.0, 3.0)),
        probed(competition((0.0, 0.0), 2, 2.0), seed=1),
    )
    assert probe_data.pairs(state) == [(2, 8)]
    assert not probe_data.has_draws(state)
    (found,) = probe_data.contests_at(state, ["b8"], 0.5, (2, 8))
    assert found.draws == 4
    assert found.figure("cosine") == pytest.approx((0.5, math.sqrt(1 / 3)))
    assert found.picture == ev.Competing(2.0, (2.0, 1.0), (0.5, -2.0), 4.0)
    assert probe_data.contests_at(state, ["b8"], 0.5, (1, 2)) == []


@pytest.mark.parametrize(
    ("pair", "told"), [((1, 2), "1+1 vs 2"), ((16, 64), "4×16 vs 64"), ((1, 3), "3×1 vs 3")]
)
def test_a_pair_says_how_often_the_small_batch_is_taken(pair: tuple[int, int], told: str) -> None:
    assert probe_data.versus(pair) == told


# ---- the plane

POINTS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=6)


@settings(deadline=None)
@given(POINTS, st.integers(4, 90), st.integers(2, 40))
def test_both_axes_of_the_plane_have_one_scale(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    x, y = axes(points, width, height)
    a_dot = (x.high - x.low) / (width * 2 - 1)
    assert (y.high - y.low) / (height * 4 - 1) == pytest.approx(a_dot)
    slack = a_dot * 1e-6
    for px, py in [*points, (0.0, 0.0)]:
        assert x.low - slack <= px <= x.high + slack
        assert y.low - slack <= py <= y.high + slack


@pytest.mark.parametrize(
    ("end", "head"),
    [((1, 0), "→"), ((1, 1), "↗"), ((0, 1), "↑"), ((-1, 0.1), "←"), ((0.1, -2), "↓")],
)
def test_heads_point_where_the_arrows_do(end: tuple[float, float], head: str) -> None:
    assert Arrow((0.0, 0.0), end, "", "").head == head


def test_a_square_is_drawn_as_a_square() -> None:
    corners = [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    arrows = [Arrow((0.0, 0.0), corner, "", "s0") for corner in corners]
    drawn = texts(plane(arrows, 40, 8))
    top, bottom = drawn[0], drawn[-1]
    side = bottom.index("→") - bottom.index("○")
    assert side == pytest.approx(16, abs=1)  # 8 rows of 4 dots, columns of 2
    assert top.index("↑") == bottom.index("○")
    assert top.index("↗") == bottom.index("→")


def test_the_picture_has_the_first_step_the_others_and_the_large_one() -> None:
    found = ev.Competing(3.0, (1.0, 1.0), (2.0, 0.5), 0.1)
    large, rest, first = arrows(found, (4, 16), "s1")
    assert (large.start, large.end, large.name) == ((0.0, 0.0), (2.0, 0.5), "one 16")
    assert (rest.start, rest.end, rest.name) == ((1.0, 1.0), (3.0, 0.0), "+3×4")
    assert (first.start, first.end, first.name) == ((0.0, 0.0), (1.0, 1.0), "4")
    text = "\n".join(texts(plane([large, rest, first], 60, 10)))
    assert all(name in text for name in ("one 16", "+3×4", "↗⡀4"))


@settings(deadline=None)
@given(POINTS, st.integers(0, 30), st.integers(0, 12))
def test_any_plane_keeps_to_its_area(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    lines = plane([Arrow((0.0, 0.0), p, "name", "s0") for p in points], width, height)
    assert all(len(line) <= width for line in texts(lines))
    assert len(lines) in (0, height)


# ---- hints


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_help_and_leave_have_their_room_before_all_else(width: int) -> None:
    line = text_of(hints(commands_at("board"), row(" 1-9 pane"), width))
    assert len(line) <= width
    assert line.endswith("  ? help  q leave")

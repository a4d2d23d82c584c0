"""Where the figures of a report write marks and names, and what is inside their axes."""

import pytest
from matplotlib.text import Annotation

from batchscope.engine.export import plot_style
from batchscope.engine.export.figures import gradients, probes
from batchscope.engine.export.figures.sizes import FALLING, RISING, _mark, _upwards
from batchscope.engine.findings.configuration_summary import Mean
from tests.unit.engine.export.figures.figure_fixtures import cast


def marks(means: list[float], shared: dict[str, int]) -> list[Annotation]:
    with plot_style.styled("key"):
        _, axes = plot_style.new("A title", "batch size", "seconds")
        known = {f"c{at}": Mean(mean, None, None, 1) for at, mean in enumerate(means)}
        _mark(axes, [(name, 2.0**at) for at, name in enumerate(known)], known, shared)
        return [each for each in axes.texts if isinstance(each, Annotation)]


def test_a_mark_is_below_its_point_where_the_line_rises_from_it() -> None:
    found = marks([3.0, 2.0, 4.0], {"c0": 3, "c1": 2})
    assert [each.get_text() for each in found] == ["×3", "×2", ""]
    assert [each.xyann for each in found] == [FALLING, RISING, FALLING]


@pytest.mark.parametrize(("means", "below"), [([1.0, 2.0], False), ([1.0, 200.0], True)])
def test_an_axis_of_times_has_room_above_and_says_what_ends_below_it(
    means: list[float], below: bool
) -> None:
    known = {
        f"c{at}": Mean(mean, -1.0 if below else 0.5 * mean, 1.5 * mean, 3)
        for at, mean in enumerate(means)
    }
    with plot_style.styled("key"):
        _, axes = plot_style.new("A title", "batch size", "seconds")
        axes.plot([1, 2], means)
        told = _upwards(axes, known)
        assert axes.get_ylim()[1] > 1.1 * max(means)
        assert axes.get_yscale() == ("log" if below else "linear")
    assert bool(told) is below


def test_all_noise_scales_and_their_batch_sizes_are_inside_the_axis() -> None:
    of = cast(32, 512)
    low, high = gradients._reach(
        of, {"c0": Mean(400.0, 300.0, 700.0, 3), "c1": Mean(20.0, -1.0, 90.0, 3)}
    )
    assert low < 20 / 1.1
    assert high > 700 * 1.1
    assert low == pytest.approx(20 * 700 / high)


def test_series_of_a_probe_lie_beside_each_other_around_their_size() -> None:
    mean = Mean(1.0, 0.5, 1.5, 3)
    points = [(8, mean), (64, mean)]
    assert probes._aside({"one": points}) == [1.0]
    aside = probes._aside(dict.fromkeys("abc", points))
    assert aside[1] == pytest.approx(1.0)
    assert aside[0] < aside[1] < aside[2]
    assert aside[0] * aside[2] == pytest.approx(1.0)
    assert aside[2] < 8**0.5

"""The look of pictures: the same bytes again, colours that can be seen, labels that do no harm."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from batchscope.engine.export import plot_style
from batchscope.tui.theme.contrast import contrast

HOSTILE = ("_hidden", "$x$ \\frac{", "<script>alert(1)</script>", 'a" id="b', "\x1b[2J\u202e", "名")


def picture(key: str = "key") -> tuple[str, bytes]:
    with plot_style.styled(key):
        figure, axes = plot_style.new("A title", "batch size", "accuracy")
        handles = []
        for index, _ in enumerate(HOSTILE):
            look = plot_style.series_style(index)
            handles += axes.plot(
                [8, 512], [index, 1], color=look.colour, marker=look.marker, ls=look.line
            )
        plot_style.sizes_along(axes, [8, 512])
        plot_style.legend(figure, handles, HOSTILE)
        return plot_style.svg_of(figure, "What <is> drawn"), plot_style.png_of(figure)


def texts(svg: str) -> list[str]:
    return [
        "".join(each.itertext())
        for each in ElementTree.fromstring(svg).iter()
        if "text" in each.tag
    ]


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert picture() == picture()
    svg, png = picture()
    assert "<dc:date>" not in svg
    assert b"Software" not in png
    assert png.startswith(b"\x89PNG")


def test_labels_are_text_whatever_they_hold() -> None:
    svg, _ = picture()
    shown = texts(svg)
    for label in HOSTILE:
        assert plot_style.plain(label) in shown
    assert "script" not in {each.tag for each in ElementTree.fromstring(svg).iter()}
    assert "\x1b" not in svg
    assert "\u202e" not in svg


def test_in_a_page_ids_are_its_own_and_colours_follow_the_page() -> None:
    svg, _ = picture()
    one, other = (ElementTree.fromstring(plot_style.inline(svg, key)) for key in ("one", "other"))
    ids = [{each.get("id") for each in root.iter() if each.get("id")} for root in (one, other)]
    assert ids[0].isdisjoint(ids[1])
    text = plot_style.inline(svg, "one")
    wanted = {*re.findall(r'href="#([^"]+)', text), *re.findall(r"url\(#([^)]+)", text)}
    assert wanted
    assert wanted <= ids[0]
    assert "http" not in text
    assert not re.search("#[0-9a-f]{6}", " ".join(each.get("style", "") for each in one.iter()))
    assert not list(one.iter("style")), "it would hold for the whole page"
    assert one.get("role") == "img"
    assert one.get("aria-label") == "What <is> drawn"
    assert one.get("width") is None


@pytest.mark.parametrize(
    ("colours", "page"), [(plot_style.SERIES, "#ffffff"), (plot_style.DARK, "#15181c")]
)
def test_colours_can_be_seen_on_their_page(colours: tuple[str, ...], page: str) -> None:
    assert min(contrast(colour, page) for colour in colours) >= 3.0
    assert len(set(colours)) == len(colours) == len(plot_style.SERIES)


def test_series_differ_in_more_than_colour() -> None:
    looks = [plot_style.series_style(index) for index in range(360)]
    assert len(set(looks)) == 360
    for one, other in zip(looks, looks[8:], strict=False):
        assert one.colour == other.colour
        assert one.marker != other.marker
        assert one.line != other.line


def test_styles_for_other_plots_do_not_change() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    picture()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("value", "shown"),
    [(8, "8"), (2048, "2,048"), (60000, "60,000"), (150000, "150k"), (1.5e6, "1.5M")],
)
def test_counts_on_an_axis(value: float, shown: str) -> None:
    assert plot_style.count_text(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0.001, "0.001"), (50_000, "50,000"), (200_000, "200k"), (1e6, "1M")),
        *((1e-6, "1e-6"), (1e9, "1e9"), (1e12, "1e12")),
    ],
)
def test_powers_of_ten_on_an_axis(value: float, shown: str) -> None:
    assert plot_style.tens(value) == shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 0.025, 0.05], ["0", "0.025", "0.050"]),
        ([0, 2, 10], ["0", "2", "10"]),
        ([0, 80_000, 120_000], ["0", "80k", "120k"]),
        ([500_000, 1_000_000], ["500k", "1,000k"]),
        ([500_000, 2_000_000], ["0.5M", "2.0M"]),
        ([20_000, 99_000], ["20,000", "99,000"]),
        ([0, 5e-7], ["0", "5e-07"]),
        ([], []),
    ],
)
def test_the_ticks_of_an_axis_have_one_unit_and_as_many_decimals(
    values: list[float], shown: list[str]
) -> None:
    assert plot_style.alike(values) == shown


def test_whole_epochs_are_numbered_in_ones_twos_fives_and_tens() -> None:
    with plot_style.styled("key"):
        _, axes = plot_style.new("A title", "epochs", "accuracy")
        axes.plot([1, 40], [0, 1])
        plot_style.count_axis(axes.xaxis, whole=True)
        ticks = [round(at) for at in axes.get_xticks()]
    assert {b - a for a, b in pairwise(ticks)} <= {1, 2, 5, 10, 20}

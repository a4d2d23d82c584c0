"""How every picture looks: colours, markers, axes, and the same bytes for the same figure.

matplotlib by its objects alone, without pyplot. What is drawn goes by `STYLE`, whatever a person
has set for other plots, and nothing written holds a clock or a number drawn by chance.

Colours follow Okabe and Ito (Color Universal Design, 2008), darkened until each has a contrast of 3
on white (WCAG 2.1, 1.4.11); `DARK` are their twins on a dark page. A series also has a marker and a
kind of line of its own, so that colour is never the only cue.
"""

import contextlib
import io
import math
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from batchscope.engine.errors import printable

INK, FAINT, PAPER = "#1b1f24", "#767e88", "#ffffff"
SERIES = (
    "#0072b2", "#c44e00", "#00855f", "#a8558a",
    "#8a6d00", "#3b8fc4", "#4d4d4d", "#7d3c1e",
)  # fmt: skip
DARK = (
    "#56b4e9", "#ff8a47", "#2fc89a", "#e39ac6",
    "#e6b800", "#9fd3f5", "#c8c8c8", "#d59a78",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
BAND = 0.16
"""How opaque a band around a line is."""
LONGEST_LABEL = 52
"""As many characters have room in a legend of one column."""
UNITS = ((2e6, 1e6, "M"), (1e5, 1e3, "k"))
"""From where on the numbers of an axis are written in which unit."""
MOST_TICKS = 9
WIDTH, HEIGHT, DOTS_PER_INCH = 4.6, 3.2, 160
LEGEND_ROW, LEGEND_ROWS = 0.17, 2
"""Inches of a row of the legend, and as many of them as a figure has room for."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "errorbar.capsize": 2.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": "auto",
}
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


class SeriesStyle(NamedTuple):
    """What tells a series from the others."""

    colour: str
    marker: str
    line: Any


def series_style(index: int) -> SeriesStyle:
    """Of the series of that index: 360 of them differ before one comes again."""
    return SeriesStyle(
        SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)], LINES[index % len(LINES)]
    )


@contextlib.contextmanager
def styled(key: str) -> Iterator[None]:
    """Draw and save by `STYLE`; `key` decides the ids inside an SVG."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of other scripts: an SVG has them
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update({**STYLE, "svg.hashsalt": key})
        yield


def new(title: str, x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; to be called where `styled` holds."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(plain(title, 60))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def plain(text: object, most: int = LONGEST_LABEL) -> str:
    """A text that people wrote as a label: no control characters, and no longer than fits."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def count_text(value: float) -> str:
    """A count on an axis: 512, 2,048, 150k, 1.5M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e5 else f"{value:,g}"


def tens(value: float) -> str:
    """A tick of a logarithmic axis: 0.001, 1, 50,000, 200k, 1e-6, 1e9."""
    if 1e-4 <= abs(value) < 1e9:
        return count_text(value)
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def alike(values: Sequence[float]) -> list[str]:
    """Ticks of one axis with one unit and as many decimals: 0.025 and 0.050, 80k and 120k."""
    most = max(map(abs, values), default=0.0)
    scale, unit = next(((size, name) for least, size, name in UNITS if most >= least), (1.0, ""))
    plainly = [f"{value / scale:.6g}" for value in values]
    if any("e" in text for text in plainly):
        return [count_text(value) for value in values]
    decimals = max((len(text.partition(".")[2]) for text in plainly), default=0)
    return [f"{value / scale:,.{decimals}f}{unit}" if value else "0" for value in values]


class Alike(Formatter):
    """Writes the ticks of an axis as `alike` does."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        """One tick, as among those of the axis."""
        return count_text(value)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All ticks of the axis."""
        return [text.replace("-", "−") for text in alike(values)]


def log_axis(axis: Any) -> None:
    """A logarithmic axis with plain numbers: mathematical text would need fonts of its own.

    Within two powers of ten 2 and 5 have their numbers too, since one tick tells no scale.
    """
    low, high = axis.get_data_interval()
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    near = 0 < low < high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tens(value)))
    axis.set_minor_locator(NullLocator())


def count_axis(axis: Any, whole: bool = False) -> None:
    """Short numbers along an axis of counts; only `whole` ones where there are no others."""
    if whole:
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    elif axis.axis_name == "x":
        axis.set_major_locator(MaxNLocator(nbins=6))  # numbers of five digits beside each other
    axis.set_major_formatter(Alike())


def sizes_along(
    axes: Axes, sizes: Sequence[float], name: str = "batch size", reach: Sequence[float] = ()
) -> None:
    """Batch sizes along a logarithmic x axis, with ticks at those that there are.

    `reach` are the places of what is drawn, where that is not at the sizes themselves.
    """
    axes.set_xscale("log", base=2)
    every = sorted(set(sizes))
    axes.xaxis.set_major_locator(FixedLocator(apart(every)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axes.set_xlabel(name)
    if every:
        axes.set_xlim(min([*every, *reach]) / 1.5, max([*every, *reach]) * 1.5)


def apart(sizes: Sequence[float], most: int = MOST_TICKS) -> list[float]:
    """Those of rising sizes whose names do not overlap on a logarithmic axis."""
    if not sizes:
        return []
    least = math.log(sizes[-1] / sizes[0]) / most
    kept = [sizes[0]]
    for size in sizes[1:]:
        if math.log(size / kept[-1]) >= least:
            kept.append(size)
    return kept


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Names of the series below the axes; none where there is one alone.

    The figure grows by the rows that they take, so that the axes keep their room.
    """
    if len(handles) < 2:
        return
    shown = [plain(label) for label in labels]
    columns = max(1, min(len(shown), 70 // (max(map(len, shown)) + 8)))
    rows = -(-len(shown) // columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(0, rows - LEGEND_ROWS))
    box = figure.legend(
        handles, [str(at) for at in range(len(shown))], loc="outside lower center", ncols=columns
    )
    for text, label in zip(box.get_texts(), shown, strict=True):
        text.set_text(label)  # set afterwards: a label that begins with _ would be passed over


def svg_of(figure: Figure, name: str) -> str:
    """The figure as SVG whose text is text; `name` is what a screen reader says."""
    file = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # it is laid out: once is enough for both kinds of file
    root = ElementTree.fromstring(file.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    root.set("role", "img")
    root.set("aria-label", plain(name, 400))
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def png_of(figure: Figure) -> bytes:
    """The figure as PNG, on white; drawn once, where `savefig` would draw it twice."""
    file = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def inline(svg: str, key: str) -> str:
    """An SVG to stand in a page: ids that begin with `key`, colours by the page's variables.

    It has no namespaces (HTML needs none) and no style sheet, which would hold for the whole page.
    """
    root = ElementTree.fromstring(svg)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    for parent in list(root.iter()):
        for child in [each for each in parent if each.tag == f"{{{SVG}}}style"]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        element.attrib = {
            name.removeprefix(f"{{{XLINK}}}"): _in_page(name, value, key)
            for name, value in element.attrib.items()
        }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _in_page(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == f"{{{XLINK}}}href" and value.startswith("#"):
        return f"#{key}-{value[1:]}"
    if name == "clip-path":
        return value.replace("url(#", f"url(#{key}-")
    if name == "style":
        return _coloured(value)
    return value


def _coloured(style: str) -> str:
    """Colours of the print as variables of the page, which differ on a dark one."""
    for index, colour in enumerate(SERIES):
        style = style.replace(colour, f"var(--s{index})")
    return (
        style.replace(INK, "var(--ink)")
        .replace(FAINT, "var(--faint)")
        .replace(PAPER, "var(--paper)")
    )

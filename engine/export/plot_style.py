"""Defines how every figure looks: colours, markers, axes, and reproducible files.

It uses matplotlib without pyplot. Figures follow `STYLE`, not the user's settings for other plots.
Files contain neither times nor random ids, so the same figure gives the same bytes.

Colours follow Okabe and Ito (Color Universal Design, 2008), darkened until each has a contrast of 3
on white (WCAG 2.1, 1.4.11); `DARK` are the corresponding colours for a dark page. Each series also
has its own marker and line style, so that colour is never the only difference.
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
"""Opacity of a band around a line."""
LONGEST_LABEL = 52
"""How many characters fit into a legend with one column."""
UNITS = ((2e6, 1e6, "M"), (1e5, 1e3, "k"))
"""From which value on the numbers of an axis are written in a unit, its factor and its name."""
MOST_TICKS = 9
WIDTH, HEIGHT, DOTS_PER_INCH = 4.6, 3.2, 160
LEGEND_ROW, LEGEND_ROWS = 0.17, 2
"""Height of a row of the legend in inches, and how many rows a figure has room for."""

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
    """Colour, marker and line style of a series."""

    colour: str
    marker: str
    line: Any


def series_style(index: int) -> SeriesStyle:
    """Return the style of the series with that index; it repeats after 360 series."""
    return SeriesStyle(
        SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)], LINES[index % len(LINES)]
    )


@contextlib.contextmanager
def styled(key: str) -> Iterator[None]:
    """Apply `STYLE` within the context; `key` seeds the ids inside an SVG."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of other scripts: an SVG has them
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update({**STYLE, "svg.hashsalt": key})
        yield


def new(title: str, x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Create an empty figure with one pair of axes; call it within `styled`.

    Args:
        title: title above the axes.
        x, y: labels of the axes.
        height: height of the figure in inches.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(plain(title, 60))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def plain(text: object, most: int = LONGEST_LABEL) -> str:
    """Return a text as a label, without control characters and cut to `most` characters."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def count_text(value: float) -> str:
    """Format a count on an axis: 512, 2,048, 150k, 1.5M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e5 else f"{value:,g}"


def tens(value: float) -> str:
    """Format a tick of a logarithmic axis: 0.001, 1, 50,000, 200k, 1e-6, 1e9."""
    if 1e-4 <= abs(value) < 1e9:
        return count_text(value)
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def alike(values: Sequence[float]) -> list[str]:
    """Format the ticks of one axis with the same unit and decimals: 0.025 and 0.050, 80k, 120k."""
    most = max(map(abs, values), default=0.0)
    scale, unit = next(((size, name) for least, size, name in UNITS if most >= least), (1.0, ""))
    plainly = [f"{value / scale:.6g}" for value in values]
    if any("e" in text for text in plainly):
        return [count_text(value) for value in values]
    decimals = max((len(text.partition(".")[2]) for text in plainly), default=0)
    return [f"{value / scale:,.{decimals}f}{unit}" if value else "0" for value in values]


class Alike(Formatter):
    """A formatter that writes the ticks of an axis with `alike`."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        """Format one tick."""
        return count_text(value)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Format all ticks of the axis."""
        return [text.replace("-", "−") for text in alike(values)]


def log_axis(axis: Any) -> None:
    """Make an axis logarithmic, with plain numbers: mathematical text would need other fonts.

    An axis of less than two powers of ten also has ticks at 2 and 5, because a single tick does
    not show a scale.
    """
    low, high = axis.get_data_interval()
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    near = 0 < low < high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tens(value)))
    axis.set_minor_locator(NullLocator())


def count_axis(axis: Any, whole: bool = False) -> None:
    """Write short numbers along an axis of counts; only `whole` ones if there are no fractions."""
    if whole:
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    elif axis.axis_name == "x":
        axis.set_major_locator(MaxNLocator(nbins=6))  # numbers of five digits need room
    axis.set_major_formatter(Alike())


def sizes_along(
    axes: Axes, sizes: Sequence[float], name: str = "batch size", reach: Sequence[float] = ()
) -> None:
    """Put batch sizes along a logarithmic x axis, with a tick at each size.

    Args:
        axes: the axes to set up.
        sizes: the batch sizes.
        name: label of the axis.
        reach: x positions of what is drawn, if they differ from the sizes.
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
    """Select from rising sizes those with labels that do not overlap on a logarithmic axis."""
    if not sizes:
        return []
    least = math.log(sizes[-1] / sizes[0]) / most
    kept = [sizes[0]]
    for size in sizes[1:]:
        if math.log(size / kept[-1]) >= least:
            kept.append(size)
    return kept


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Add the names of the series below the axes; none if there is only one series.

    The figure grows by the rows of the legend, so that the axes keep their size.
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
    """Return the figure as SVG with text as text; `name` is its label for screen readers."""
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
    """Return the figure as PNG on white; it is drawn once, while `savefig` would draw it twice."""
    file = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def inline(svg: str, key: str) -> str:
    """Prepare an SVG for use inside a page: ids start with `key`, colours are CSS variables.

    It has no namespaces (HTML needs none) and no style sheet, which would apply to the whole page.
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
    """Replace colours by the variables of the page, which differ on a dark page."""
    for index, colour in enumerate(SERIES):
        style = style.replace(colour, f"var(--s{index})")
    return (
        style.replace(INK, "var(--ink)")
        .replace(FAINT, "var(--faint)")
        .replace(PAPER, "var(--paper)")
    )

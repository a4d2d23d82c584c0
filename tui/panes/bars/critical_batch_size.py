"""Steps against samples to the target: the batch sizes, the fitted curve, and marks on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.findings.critical_batch_size import Critical, Regime, Size
from batchscope.engine.findings.critical_batch_text import aside_sentences, figure, noise_sentence
from batchscope.engine.findings.critical_batch_text import critical_size_text as in_words
from batchscope.engine.formatting import three_digits
from batchscope.engine.schedule import target
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.axis import axis_over
from batchscope.tui.render.chart import Level, Marker, chart
from batchscope.tui.render.styled_text import EMPTY, Row, cell, fit, row, wrap
from batchscope.tui.viewmodel.view import View

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Grid

SHORT: dict[Regime, str] = {
    "perfect scaling": "perfect",
    "diminishing returns": "diminishing",
    "maximal data parallelism": "maximal",
    "undetermined": "?",
}
CRITICAL, NOISE = "┼", "◌"
CAPTION = "samples over steps to the target"
LABEL_MOST = 12
CHART_ROWS, CHART_COLUMNS = 7, 24
BEYOND, AROUND = 2.0, 1.2
"""Factors by which the curve extends past the batch sizes, and the axes past what is drawn."""
FINE = 96


def critical_rows(view: View, width: int, height: int) -> list[Row]:
    """Return the picture, the table of batch sizes next to it, and the results in words below."""
    critical, noise = view.findings.critical_batch_size, view.findings.noise_scale
    if critical is None or not (critical.sizes or critical.left_out):
        return awaited(view, "no trial has reached its target yet", width, height)
    said = _said(critical, noise, width)
    table = _table(view, critical, width)
    beside = max((sum(len(text) for text, _ in line) for line in table), default=0)
    rows = height - len(said)
    if len(critical.sizes) < 2 or rows < CHART_ROWS:
        return [*table, *said]
    if width - beside - 2 < CHART_COLUMNS:
        return [*_picture(view, critical, noise, width, rows), *table, *said]
    room = width - beside - 2
    drawn = _picture(view, critical, noise, room, max(rows, len(table)))
    return [
        *(
            row(*fit(line, room), "  ", *(table[at] if at < len(table) else EMPTY))
            for at, line in enumerate(drawn)
        ),
        *said,
    ]


def has_target(view: View) -> bool:
    """Return whether any configuration has a target."""
    settings = [each.settings.train for each in view.state.configurations.values()]
    return any(target.has_target(train) for train in settings)


def _said(critical: Critical, noise: Sequence[NoiseFinding], width: int) -> list[Row]:
    marks = critical.value is not None
    head = f"{f'{CRITICAL} ' * marks}critical batch size {in_words(critical)}"
    head += f"; {critical.reason}" if critical.reason else ""
    lines = wrap(head, width, "strong")
    if critical.steps_min and critical.samples_min:
        steps, samples = _short(critical.steps_min), _short(critical.samples_min)
        lines += wrap(f"│ fewest steps {steps}, ╌ fewest samples {samples}", width, "dim")
    if noise:
        sentence = noise_sentence(critical, noise).rstrip(".")
        lines += wrap(f"{f'{NOISE} ' * marks}{sentence[0].lower()}{sentence[1:]}", width, "")
    for sentence in aside_sentences(critical):
        lines += wrap(sentence, width, "dim")
    return lines


def _table(view: View, critical: Critical, width: int) -> list[Row]:
    """Return steps, samples and regime of every batch size.

    A `?` says that the interval also allows another regime.
    """
    shown = _shown(view, critical)
    if not shown:
        return []
    label = view.label_width(LABEL_MOST, (size.configuration for size in critical.sizes))
    lines = [row((f"{'':>{label + 3}}{'steps':>8}{'samples':>10}  regime", "dim"))]
    for size in shown:
        doubt = "" if size.sure or size.regime == "undetermined" else "?"
        lines.append(
            row(
                *view.marks[size.configuration].head(label),
                cell(_short(size.steps), 8, "strong", right=True),
                cell(_short(size.samples), 10, right=True),
                (f"  {SHORT[size.regime]}{doubt}", "dim"),
            )
        )
    return lines


def _short(value: float) -> str:
    """Return a number in few characters: 2.27M, 196k, 1,030."""
    for least, unit, name in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{three_digits(value / unit)}{name}"
    return figure(value)


def _picture(
    view: View, critical: Critical, noise: Sequence[NoiseFinding], width: int, height: int
) -> list[Row]:
    """Return the picture, logarithmic on both axes: fewer steps cost samples and the reverse."""
    curve = _curve(critical)
    marks = [_mark(view, size) for size in _shown(view, critical)]
    level, hair = None, None
    ends = [(size.steps, size.samples) for size in critical.sizes] + curve
    if critical.steps_min and critical.samples_min:
        level = Level(critical.samples_min, "")
        hair = critical.steps_min
        ends.append((hair, level.value))
        marks += _along(critical, noise)
    x, y = (
        axis_over([v * f for v in values for f in (AROUND, 1 / AROUND)], log=True)
        for values in zip(*ends, strict=True)
    )
    letter = "." if view.look.ascii else ""

    def draw(grid: "Grid") -> None:
        from batchscope.tui.render.braille import Series  # loads numpy

        if curve:
            grid.draw(Series(curve, "accent", letter=letter), x, y)

    return chart(draw, x, y, (width, height), marks, level, hair)


def _shown(view: View, critical: Critical) -> list[Size]:
    """Return the batch sizes that the viewer has not hidden; the fit is over all of them."""
    return [size for size in critical.sizes if not view.focus.hides(size.configuration)]


def _mark(view: View, size: Size) -> Marker:
    mark = view.marks[size.configuration]
    return size.steps, size.samples, mark.glyph, mark.style


def _along(critical: Critical, noise: Sequence[NoiseFinding]) -> list[Marker]:
    """Return marks of the critical batch size and the median noise scale on the curve."""
    assert critical.value is not None
    on_curve = {each.configuration for each in critical.sizes}
    known = sorted(n.value for n in noise if n.value and n.configuration in on_curve)
    places = [(known[len(known) // 2], NOISE, "warn")] if known else []
    places.append((critical.value, CRITICAL, "strong"))
    return [(*_point(critical, size), glyph, style) for size, glyph, style in places]


def _curve(critical: Critical) -> list[tuple[float, float]]:
    """Return the fitted curve from below the smallest batch size to above the largest."""
    if critical.value is None:
        return []
    sizes = [size.samples / size.steps for size in critical.sizes]
    low, high = min(sizes) / BEYOND, max(sizes) * BEYOND
    return [_point(critical, low * (high / low) ** (at / FINE)) for at in range(FINE + 1)]


def _point(critical: Critical, size: float) -> tuple[float, float]:
    assert critical.value
    assert critical.steps_min
    assert critical.samples_min
    steps = critical.steps_min * (1 + critical.value / size)
    return steps, critical.samples_min * (1 + size / critical.value)

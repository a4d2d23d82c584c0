"""Chooses the configurations that all figures draw, their styles and their places."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from batchscope.engine.analysis.figures import kin, preferred
from batchscope.engine.export.export_reader import ExportedFindings
from batchscope.engine.export.plot_style import FAINT, SeriesStyle, plain, series_style, sizes_along
from batchscope.engine.findings.comparison_sides import gather
from batchscope.engine.findings.configuration_summary import Mean, collapse_texts, left_out_text
from batchscope.engine.findings.recommendation import recommended
from batchscope.engine.findings.selected_candidates import looked_at
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Settings

MOST = 24
"""The most configurations that can be distinguished in one figure."""
ROOM = 0.55
"""The share of the distance to the next batch size over which rivals of one size may spread."""
APART = 0.045
"""The distance from one rival to the next, as a share of the axis."""
WIDEST, ALONE = 1.3, 3.0
"""With only one batch size: the greatest ratio of neighbours, and of the outermost."""
INTERVAL = "Whiskers are intervals of coverage 0.95 by Student's t over the seeds"


SINGLE: dict[str, Any] = {"marker": ".", "ms": 5, "alpha": 0.7, "ls": "none", "mew": 0}
"""The style of the value of a single seed."""
ASIDE = 6.0
"""How far single seeds are drawn to the right of their mean, in points."""


class Picture(NamedTuple):
    """A figure with the name of its files, its title, and its caption."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Cast:
    """The configurations that are drawn, each with the same style in every figure."""

    state: SweepState
    findings: ExportedFindings
    names: tuple[str, ...]
    left_out: int = 0
    tiers: tuple[tuple[str, ...], ...] = ()
    """Names that come first where a figure has no room for all."""

    def look(self, name: str) -> SeriesStyle:
        """Return the style of a configuration."""
        return series_style(self.names.index(name))

    def means(self, measure: str) -> dict[str, Mean]:
        """Return a measure of the configurations that have it."""
        means = self.findings.means(measure)
        return {name: means[name] for name in self.names if name in means}

    def singles(self, measure: str) -> dict[str, list[float]]:
        """Return the values of a measure seed by seed; for times, one for each stack."""
        return {
            name: list(
                gather(self.state, measure, [self.state.configurations[name]]).values.values()
            )
            for name in self.names
        }

    def missing(self, means: Mapping[str, Mean]) -> str:
        """Return which seeds collapsed, and how many have no value; empty if there are none."""
        parts = collapse_texts(self.state, means)
        lacking = left_out_text(means, {name: self.label(name) for name in means})
        parts += [lacking] if lacking else []
        return f" {'; '.join(parts)}." if parts else ""

    def label(self, name: str) -> str:
        """Return the label of a configuration."""
        return plain(self.state.configurations[name].label)

    def size(self, name: str) -> int:
        """Return the batch size of a configuration."""
        return self.state.configurations[name].settings.train.batch_size

    @property
    def families(self) -> list[list[str]]:
        """Groups that differ only in batch size and learning rate, smaller batch sizes first."""
        families: dict[Settings, list[str]] = {}
        for name in self.names:
            families.setdefault(kin(self.state.configurations[name].settings), []).append(name)
        return list(families.values())

    @property
    def plain_sizes(self) -> bool:
        """Whether the batch sizes alone identify the configurations."""
        sizes = [self.size(name) for name in self.names]
        return len(self.families) == 1 and len(set(sizes)) == len(sizes)

    @property
    def note(self) -> str:
        """How many are not drawn, as a sentence; empty if all are."""
        count = self.left_out
        return f" {count} more configuration{'s' * (count > 1)} not drawn." if count else ""


def cast_of(state: SweepState, document: ExportedFindings) -> Cast:
    """Return at most `MOST` configurations with a finished epoch, without rejected candidates."""
    known = [name for name in preferred(state) if any(t.records for t in state.replicates(name))]
    tiers = _tiers(state, document)
    some = foremost(known, tiers, MOST)
    return Cast(state, document, tuple(some), len(known) - len(some), tiers)


def foremost(items: Sequence[str], tiers: Iterable[Sequence[str]], most: int) -> list[str]:
    """Return at most `most` items in their order: those of the first tier, then of the next.

    From a tier that does not fit whole, and from the items in no tier, some are taken evenly.
    """
    kept: list[str] = []
    for tier in (*tiers, items):
        new = [item for item in items if item in set(tier) and item not in kept]
        kept += spread(new, most - len(kept))
    return [item for item in items if item in set(kept)]


def _tiers(state: SweepState, document: ExportedFindings) -> tuple[tuple[str, ...], ...]:
    """Return the configurations by priority: the recommended one, those in claims, the chosen."""
    advised = recommended(state).configuration
    claims = state.opened.claims if state.opened else ()
    sides = [side for claim in claims for side in (claim.left, claim.right) if side]
    return (
        (advised.id,) if advised else (),
        tuple(each.id for side in sides for each in looked_at(state, side).configurations),
        tuple(name for each in document.choices if (name := each.judged or each.chosen)),
    )


def spread(items: Sequence[str], most: int) -> list[str]:
    """Return at most `most` items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[:most])
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def dots(
    axes: Axes,
    cast: Cast,
    means: dict[str, Mean],
    factor: float = 1.0,
    singles: Mapping[str, Sequence[float]] | None = None,
) -> list[Artist]:
    """Draw means with intervals over the batch size; a line joins those of one family.

    Args:
        axes: where to draw.
        cast: the configurations and their styles.
        means: the means by configuration.
        factor: what all values are multiplied with.
        singles: the values of single seeds by configuration, drawn as small points.

    Returns:
        The handles for a legend.
    """
    places = dict(beside(cast, means))
    for family in cast.families:
        at = [(places[name], means[name].mean * factor) for name in family if name in means]
        if len({cast.size(name) for name in family if name in means}) == len(at):
            axes.plot(*zip(*at, strict=True), color=FAINT, lw=0.9, zorder=1) if at else None
    handles: list[Artist] = []
    aside = axes.transData + ScaledTranslation(ASIDE / 72, 0.0, axes.figure.dpi_scale_trans)
    for name, x in places.items():
        mean, style = means[name], cast.look(name)
        centre = mean.mean * factor
        seeds = [value * factor for value in (singles or {}).get(name, ())]
        axes.plot([x] * len(seeds), seeds, color=style.colour, transform=aside, zorder=2, **SINGLE)
        axes.plot([x] * len(seeds), seeds, ls="none")  # invisible, for the limits of the axes
        ends = [[0.0], [0.0]]
        if mean.low is not None and mean.high is not None:
            ends = [[centre - mean.low * factor], [mean.high * factor - centre]]
        handles.append(
            axes.errorbar(
                [x], [centre], yerr=ends, color=style.colour, marker=style.marker, ls="none"
            ).lines[0]
        )
    return handles


def beside(cast: Cast, names: Iterable[str]) -> list[tuple[str, float]]:
    """Return the x position of each configuration; those of equal batch size are set apart.

    They are spread to both sides of their size, never as far as halfway to the next.
    """
    there = set(names)
    shown = [name for name in cast.names if name in there]
    counts = Counter(map(cast.size, shown))
    step = _step(counts)
    seen: Counter[int] = Counter()
    places = []
    for name in shown:
        size = cast.size(name)
        places.append((name, size * step ** (seen[size] - (counts[size] - 1) / 2)))
        seen[size] += 1
    return places


def _step(counts: Mapping[int, int]) -> float:
    """Return the ratio of neighbouring x positions of one size, from the count of each size."""
    sizes, most = sorted(counts), max(counts.values(), default=1)
    if most == 1:
        return 1.0
    if len(sizes) == 1:
        return float(min(WIDEST, ALONE ** (1 / (most - 1))))
    wanted = max(1.05, (sizes[-1] / sizes[0]) ** APART)
    nearest = min(b / a for a, b in pairwise(sizes))
    return float(min(wanted, nearest ** (ROOM / (most - 1))))


def along(axes: Axes, cast: Cast, names: Iterable[str]) -> None:
    """Label the x axis with the batch sizes, with room for the positions from `beside`."""
    places = beside(cast, names)
    sizes_along(axes, [cast.size(name) for name, _ in places], reach=[x for _, x in places])


def is_wide(values: Iterable[float], factor: float = 12.0) -> bool:
    """Return whether positive values span a range that needs a logarithmic axis."""
    known = [value for value in values if value > 0]
    return len(known) > 1 and max(known) / min(known) > factor

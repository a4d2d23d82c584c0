"""The gradients pane: gradient norms early and late in the training, by layer, and at probes."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar

from batchscope.engine.analysis.figures import norms
from batchscope.engine.analysis.layer_shares import layer_means
from batchscope.engine.metrics.layer_norms import has_layer_norms
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.gradients import probe_data
from batchscope.tui.panes.gradients.competition import contest_rows
from batchscope.tui.panes.gradients.layer_table import (
    FIGURE_NAMES,
    LAYER_FIGURES,
    Column,
    LayerFigure,
    fitting,
    layer_rows,
)
from batchscope.tui.panes.gradients.norm_histogram import Histogram, norm_rows
from batchscope.tui.panes.gradients.probe_data import Pair, PooledCompetition, PooledDraws, Values
from batchscope.tui.panes.gradients.value_histogram import Valued, least, span, value_rows
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import Row, cell, row
from batchscope.tui.render.units import number, share

SHARES = ((0.2, "fifth"), (1 / 3, "third"), (0.5, "half"), (0.05, "twentieth"), (0.1, "tenth"))
LABEL_MOST = 14
NO_PROBE = "this sweep has no probe: see [probe] in the preset reference"
CONTEST_ROWS = 13
Source = Literal["steps", "layers", "norms", "values"] | Pair
LAYER_PARTS = (
    (0.0, 1.0, "all steps"),
    (0.0, 0.2, "first fifth of the steps"),
    (0.8, 1.0, "last fifth of the steps"),
)
T = TypeVar("T")
Parts = tuple[Norms, Norms, bool]  # early norms, late norms, and whether the late part has begun


class GradientsPane(Pane):
    """Shows the size and spread of gradients, during the training or at one probe."""

    NAME, TITLE = "gradients", "gradient norm"
    TOPICS = ("epochs", "trials", "data", "probes")

    part = 0
    normalized = False
    source: Source = "steps"
    moment: float | None = None
    layer_figure: LayerFigure = "share"
    layer_part = 0

    def options(self) -> object:
        """Return the view, the shares, whether norms are normalized, and the moment."""
        by_layer = self.layer_figure, self.layer_part
        return self.source, self.part, self.normalized, self.moment, by_layer

    @property
    def heading(self) -> str:
        """The name of the view."""
        if isinstance(self.source, tuple):
            return f"competition {probe_data.versus(self.source)}"
        return {
            "steps": self.TITLE,
            "layers": "gradient norm by layer",
            "norms": "probed norm",
            "values": "gradient values",
        }[self.source]

    def turn(self, what: str, step: int) -> str:
        """Change the view, the share or the moment, or normalize the norms."""
        match what:
            case "source":
                return self._next_source(step)
            case "share" if self.source == "layers":
                self.layer_part = (self.layer_part + step) % len(LAYER_PARTS)
            case "normalize" if self.source == "layers":
                at = LAYER_FIGURES.index(self.layer_figure) + step
                self.layer_figure = LAYER_FIGURES[at % len(LAYER_FIGURES)]
            case "share" if self.source != "steps":
                return "early and late are shares of the steps; g goes back to their norms"
            case "share":
                self.part = (self.part + step) % len(SHARES)
            case "normalize" if self.source not in ("steps", "norms"):
                return "only norms are normalized; g goes on to them"
            case "normalize":
                self.normalized = not self.normalized
            case _:
                return self._next_moment(step)
        return ""

    def caption(self, width: int) -> Row:
        """Return what is drawn, in the longest words that fit."""
        if self.source == "steps":
            return self.said(width, *self._steps_captions())
        if self.source == "layers":
            return self.said(width, *self._layer_captions(width))
        return self.said(width, *self._moment_captions())

    def wanted_rows(self) -> int:
        """Count one row per configuration, probed batch size or layer, and one for the axis."""
        if isinstance(self.source, tuple):
            return CONTEST_ROWS
        if self.source == "layers":
            return 1 + max((len(column.layers) for column in self.layer_columns()), default=0)
        shown = self.view.order if self.source == "steps" else self._probed()
        return max(1, len(shown)) + 1

    def roomy_rows(self) -> int:
        """Count three rows per histogram, and one for the axis."""
        if isinstance(self.source, tuple) or self.source == "layers":
            return self.wanted_rows()
        return 3 * (self.wanted_rows() - 1) + 1

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the rows of the present view."""
        if self.view.all_hidden:
            return awaited(self.view, self.view.all_hidden, width, height)
        if self.source == "steps":
            shown = self._steps()
            if not shown:
                return awaited(self.view, "no epoch has ended yet", width, height)
            return norm_rows(shown, width, height, self.normalized)
        if self.source == "layers":
            columns = self.layer_columns()
            if not columns:
                return awaited(self.view, "no epoch has ended yet", width, height)
            return layer_rows(columns, self.layer_figure, width)
        if isinstance(self.source, tuple):
            contests = self._contests(self.source)
            entries = [(self.view.marks[each.configuration], each) for each in contests]
            if entries:
                return contest_rows(entries, self.source, width, height)
        elif self._probed():
            return self._draws(width, height)
        return awaited(self.view, "nothing of this was probed at that moment", width, height)

    def table(self) -> Iterable[Line]:
        """Return the norms by layer, or early and late; of a probe the rows as drawn."""
        if self.source == "layers":
            yield "layer", "weights", "configuration", "mean norm", "norm cv", "share", "seeds"
            for column in self.layer_columns():
                for each in column.layers:
                    figures = each.mean, each.cv, each.share, each.seeds
                    yield each.layer, each.parameters, column.label, *figures
        elif self.source == "steps":
            yield "configuration", "early mean", "early cv", "late mean", "late cv", "late steps"
            for name in self.view.shown:
                early, late, _ = self.parts(name)
                if early.count or late.count:
                    label = self.view.marks[name].label
                    yield label, early.mean, early.cv, late.mean, late.cv, late.count
        else:
            yield from super().table()

    def _draws(self, width: int, height: int) -> Sequence[Row]:
        drawn = self._probed()
        heads = self._heads(drawn)
        styles = [self.view.marks[each.configuration].style for each in drawn]
        if self.source == "values":
            values = self._values()
            shown = [Valued(*each) for each in zip(heads, styles, values, strict=True)]
            return value_rows(shown, width, height)
        probed = [self._of(each, "norms", partial(_norms_of, each)) for each in drawn]
        tags = [f"cos {number(each.cosine)}" if width >= 64 else "" for each in drawn]
        histograms = [Histogram(*each) for each in zip(heads, styles, probed, tags, strict=True)]
        return norm_rows(histograms, width, height, self.normalized)

    # Data

    def _steps(self) -> list[Histogram]:
        label = self.view.label_width(LABEL_MOST)
        parts = {name: self.parts(name) for name in self.view.shown}
        return [
            Histogram(mark.head(label), mark.style, late, self._after(name, begun), before=early)
            for name, (early, late, begun) in parts.items()
            if early.bins or late.bins
            for mark in (self.view.marks[name],)
        ]

    def _after(self, name: str, begun: bool) -> str:
        """Return which steps follow the early ones: the late ones, or as many as there are.

        A training that reaches its target may end before its last share of the planned steps.
        """
        if begun:
            return "late"
        ended = all(trial.done for trial in self.view.state.replicates(name))
        return "rest" if ended else "so far"

    def parts(self, name: str) -> Parts:
        """Return the norms of the first and the last share of the steps.

        Until the last share begins, the second value has all steps after the first share.
        """
        state, (part, _) = self.view.state, SHARES[self.part]

        def measured() -> Parts:
            early, late = norms(state, name, 0.0, part), norms(state, name, 1.0 - part)
            begun = late.count > 0
            return early, late if begun else norms(state, name, part), begun

        return self.view.once(("norms", name, part), self.view.reached(name), measured)

    def layer_columns(self) -> list[Column]:
        """Return the norms by layer over the selected steps, by configuration."""
        state, (start, stop, _) = self.view.state, LAYER_PARTS[self.layer_part]
        columns = []
        for name in self.view.shown:
            layers = self.view.once(
                ("layers", name, self.layer_part),
                self.view.reached(name),
                partial(layer_means, state, name, start, stop),
            )
            if layers:
                mark = self.view.marks[name]
                columns.append(Column(mark.glyph, mark.style, mark.label, layers))
        return columns

    @property
    def _moments(self) -> list[float]:
        return self._once("moments", lambda: probe_data.moments(self.view.state))

    @property
    def _at(self) -> float:
        """The selected moment; the last one if none is selected."""
        known = self._moments
        if self.moment in known or not known:
            return self.moment or 0.0
        return known[-1]

    def _probed(self) -> list[PooledDraws]:
        state, order, at = self.view.state, self.view.order, self._at
        every = self._once(("drawn", at), lambda: probe_data.drawn_at(state, order, at))
        return [each for each in every if not self.view.focus.hides(each.configuration)]

    def _values(self) -> list[Values]:
        drawn = self._probed()
        return [self._of(each, "values", partial(_values_of, each)) for each in drawn]

    def _of(self, drawn: PooledDraws, what: str, compute: Callable[[], T]) -> T:
        """Return something of the draws of one configuration, computed once."""
        return self._once((what, self._at, drawn.configuration, drawn.batch_size), compute)

    def _contests(self, pair: Pair) -> list[PooledCompetition]:
        state, order, at = self.view.state, self.view.order, self._at
        every = self._once(
            ("pair", pair, at), lambda: probe_data.contests_at(state, order, at, pair)
        )
        return [each for each in every if not self.view.focus.hides(each.configuration)]

    def _sources(self) -> list[Source]:
        state = self.view.state
        drawn: list[Source] = ["norms", "values"] if probe_data.has_draws(state) else []
        by_layer = any(map(has_layer_norms, state.trials.values()))
        layers: list[Source] = ["layers"] if by_layer else []
        return ["steps", *layers, *drawn, *probe_data.pairs(state)]

    def _once(self, key: object, compute: Callable[[], T]) -> T:
        """Return a value from the probes; compute it again if probes or trials have changed."""
        moved = self.view.moved
        return self.view.once(("probe", key), (moved["probes"], moved["trials"]), compute)

    # Keys

    def _next_source(self, step: int) -> str:
        known = self._sources()
        at = known.index(self.source) if self.source in known else 0
        if known == [self.source]:
            return self._no_probe()
        self.source = known[(at + step) % len(known)]
        return ""

    def _next_moment(self, step: int) -> str:
        known = self._moments
        if not known:
            return self._no_probe()
        if self.source in ("steps", "layers"):
            return "These norms are of all steps; g shows those of one probe"
        at = known.index(self._at) + step
        if not 0 <= at < len(known):
            return f"nothing was probed {'later' if step > 0 else 'earlier'}"
        self.moment = known[at] if at < len(known) - 1 else None
        return ""

    # Texts

    def _no_probe(self) -> str:
        asked = any(c.settings.probe.at for c in self.view.state.configurations.values())
        return "nothing has been probed yet" if asked else NO_PROBE

    def _heads(self, drawn: list[PooledDraws]) -> list[Row]:
        """Return marker and batch size of each row; the configuration too if there are several."""
        several = len({each.configuration for each in drawn}) > 1
        label = self.view.label_width(LABEL_MOST) if several else 0
        digits = max(len(f"{each.batch_size:,}") for each in drawn)
        heads, before = [], ""
        for each in drawn:
            mark = self.view.marks[each.configuration]
            named = mark.head(label) if several else row((mark.glyph, mark.style), " ")
            if each.configuration == before and several:
                named = row(" " * (label + 3))
            before = each.configuration
            size = cell(f"{each.batch_size:,}", digits, right=True)
            heads.append(row(*named, ("B ", "dim"), size, " "))
        return heads

    def _steps_captions(self) -> list[str]:
        word = SHARES[self.part][1]
        mean = " · all brought to one mean" if self.normalized else ""
        return [
            f"early ░ first, late █ last {word} of the planned steps{mean}",
            f"early ░ first, late █ last {word}{mean}",
            f"early ░ late █ {word}{' · one mean' if self.normalized else ''}",
            f"░ █ {word}{' · one mean' if self.normalized else ''}",
        ]

    def _layer_captions(self, width: int) -> list[str]:
        name, part = FIGURE_NAMES[self.layer_figure], LAYER_PARTS[self.layer_part][2]
        columns = self.layer_columns()
        shown, total = len(fitting(columns, width)), len(columns)
        some = f", {shown} of {total}" if shown < total else ""
        return [
            f"{name}, {part}{some}",
            f"{name}{some}",
            f"{self.layer_figure}{some}",
            self.layer_figure,
        ]

    def _moment_captions(self) -> list[str]:
        known = self._moments
        at = f"at {share(self._at)}"
        which = f" ({known.index(self._at) + 1} of {len(known)})" if len(known) > 1 else ""
        long = f"{at} of the budget{which}"
        if self.source == "norms":
            mean = " · all brought to one mean" if self.normalized else ""
            return [f"batches of a size drawn {long}{mean}", f"{at}{which}{mean}", at]
        if self.source == "values":
            low, _ = span([each.bins for each in self._values()])
            middle = f"middle: |g| < {number(least(low))}"
            return [f"{long} · counts log · {middle}", f"{at}{which} · {middle}", at]
        return [f"{long} · mean ± deviation over the draws", long, f"{at}{which}", at]


def _norms_of(drawn: PooledDraws) -> Norms:
    return drawn.norms


def _values_of(drawn: PooledDraws) -> Values:
    return drawn.values

"""The bars pane: one metric of each batch size, compared with the smallest of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchscope.engine.analysis.bias_variance import DIFFERENT, on_different_data
from batchscope.engine.analysis.figures import epoch_times
from batchscope.engine.analysis.noise_scales import noise_scales
from batchscope.engine.analysis.stack_times import stack_caution, stack_sizes, stacked
from batchscope.engine.findings.configuration_summary import (
    Mean,
    bars,
    collapse_texts,
    left_out_text,
)
from batchscope.engine.findings.critical_batch_text import figure as size
from batchscope.engine.findings.missing_values import is_physical
from batchscope.engine.journal.headline import LOSS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition
from batchscope.engine.metrics.metric import TrialMetric
from batchscope.engine.metrics.primary_metric import PrimaryMetric
from batchscope.engine.metrics.registry import BARS, value_of
from batchscope.tui.panes.bars import interpolation
from batchscope.tui.panes.bars.critical_batch_size import CAPTION, critical_rows, has_target
from batchscope.tui.panes.bars.epoch_time import beside_what, epoch_time_rows
from batchscope.tui.panes.base import BESIDE, Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.block_bars import bar
from batchscope.tui.render.styled_text import Row, cell, row, wrap
from batchscope.tui.render.units import deviation, duration, figure, places
from batchscope.tui.viewmodel.view import View

LABEL_MOST = 16
NARROW, LABEL_NARROW = 36, 9
"""Below so many columns labels are cut, so that no number is."""
CRITICAL_ROWS = 14
SEEDS_FROM = 64


@dataclass(frozen=True, slots=True)
class BarMeasure:
    """A measure of finished trials that bars show.

    Args:
        name, tab: its name on the screen, and the same in a word or two.
        measure: its name among the metrics.
        unit: its unit there.
        share: whether it is a fraction, shown with four decimals.
        setting: whether it is the same for all seeds, so that it has no interval.
        better: which direction is better, where the name does not say it.
    """

    name: str
    tab: str
    measure: str
    unit: str = ""
    share: bool = False
    setting: bool = False
    better: str = ""

    def texts(self, mean: Mean, decimals: int | None) -> tuple[str, str]:
        """Return the mean, and half of its 95 % interval if two or more seeds give one."""
        if self.unit == "images":
            ends = (size(end) if end is not None else "–" for end in (mean.low, mean.high))
            return size(mean.mean), f"[{', '.join(ends)}]"
        half = None
        if mean.low is not None and mean.high is not None and not self.setting:
            half = (mean.high - mean.low) / 2
        if self.unit == "seconds":
            return duration(mean.mean), f"±{duration(half)}" if half is not None else ""
        return figure(mean.mean, decimals), deviation(half, decimals) if half is not None else ""


def _bar_of(metric: TrialMetric) -> BarMeasure:
    """Return the bar of a metric."""
    setting = metric.bar is not None and metric.bar.setting
    return BarMeasure(
        metric.title, metric.tab, metric.name, metric.unit, metric.is_accuracy, setting
    )


def own_bars(primary: PrimaryMetric, state: SweepState) -> list[BarMeasure]:
    """Return the bars of the metrics of tasks, the primary one first; empty without a task."""
    tasks = [each.settings.task for each in state.configurations.values()]
    if not tasks or None in tasks:
        return []
    own = dict(pair for task in tasks if task and task.facts for pair in task.facts.metrics)
    named = [primary, *(primary.of_task(name, better) for name, better in own.items())]
    found = {each.measure: each for each in (*named, primary.of_task(LOSS, "lower"))}
    return [
        BarMeasure(
            each.title,
            each.word,
            each.measure,
            share=each.is_accuracy,
            better="" if each.is_accuracy else each.better,
        )
        for each in found.values()
    ]


MEASURED = {metric.name: _bar_of(metric) for metric in BARS}
"""Bars by metric, in the order in which keys step through them."""
EPOCH_TIME = MEASURED["epoch_seconds"]
NOISE = MEASURED["noise_scale"]
"""The ratio of two means over the seeds (`engine.analysis.noise_scales`); its interval is not
symmetric."""
SHARPNESS = MEASURED["sharpness"]
CRITICAL = BarMeasure("steps and samples", "critical", "steps")
"""Drawn as a curve if the sweep has a target: `tui.panes.bars.critical_batch_size`."""
LINES = {
    BarMeasure("loss between solutions", "loss line", "test_loss"): "loss",
    BarMeasure("accuracy between solutions", "accuracy line", "test_accuracy"): "accuracy",
}
"""Drawn as curves if the sweep interpolates two solutions: `tui.panes.bars.interpolation`."""
LINE_ROWS = 14
GAP = "generalization_gap"


class BarsPane(Pane):
    """Draws the time of an epoch, or another metric, as a bar for each configuration."""

    NAME, TITLE = "bars", "epoch time"
    TOPICS = ("epochs", "trials", "data", "findings", "lines")

    chosen = 0

    def options(self) -> object:
        """Return the index of the metric."""
        return self.chosen

    @property
    def figure_name(self) -> str:
        """The name of the metric that is drawn."""
        return self.figure.name

    @property
    def figure_names(self) -> list[str]:
        """The names of the metrics that this sweep has."""
        return [each.name for each in self.figures]

    def choose_figure(self, name: str) -> None:
        """Draw the metric of this name."""
        self.chosen = self.figure_names.index(name)

    @property
    def figures(self) -> tuple[BarMeasure, ...]:
        """The metrics that this sweep has, in the order of the keys."""
        view = self.view
        always, asked, measured = [], [], []
        for metric in BARS:
            bar = metric.bar
            if bar and bar.measured:
                measured += [metric] if any(map(bar.measured, view.state.trials.values())) else []
            elif bar and bar.asked:
                settings = (each.settings for each in view.state.configurations.values())
                asked += [metric] if any(map(bar.asked, settings)) else []
            else:
                always.append(metric)
        return (
            *self._always([MEASURED[metric.name] for metric in always]),
            *([CRITICAL] if has_target(view) else []),
            *(MEASURED[metric.name] for metric in asked),
            *(line for line, name in LINES.items() if self._has_line(name)),
            # last, so that the others keep their places when a trial measures one of these
            *(MEASURED[metric.name] for metric in measured),
        )

    def _always(self, known: list[BarMeasure]) -> list[BarMeasure]:
        """Return the bars of every sweep, with a task's own metrics in the place of an accuracy."""
        view = self.view
        stamp = len(view.state.data), len(view.order)
        own = view.once("own bars", stamp, lambda: own_bars(view.primary, view.state))
        if not own:
            return known
        at = known.index(MEASURED["test_accuracy"])
        has_gap = view.primary.measure == "test_accuracy"
        rest = [each for each in known[at + 1 :] if has_gap or each.measure != GAP]
        return [*known[:at], *own, *rest]

    def _has_line(self, name: str) -> bool:
        """Return whether the line between two solutions has a loss, or an accuracy."""
        asked = interpolation.asked_for(self.view) is not None
        return asked and (name == LOSS or self.view.primary.is_accuracy)

    @property
    def figure(self) -> BarMeasure:
        """The metric that is drawn."""
        return self.figures[self.chosen]

    @property
    def heading(self) -> str:
        """The name of the metric, and which direction is better."""
        name, better = self.figure.name, self.figure.better
        whole = f"{name}, {better} is better" if better else name
        return whole if len(whole) + BESIDE <= self.size.width or not self.size.width else name

    @property
    def tab(self) -> str:
        """The name of the metric in a word."""
        return self.figure.tab

    def turn(self, what: str, step: int) -> str:
        """Show the next metric, or the one before."""
        self.chosen = (self.chosen + step) % len(self.figures)
        return ""

    def caption(self, width: int) -> Row:
        """Return what the columns mean."""
        if self.figure is EPOCH_TIME:
            return self.said(
                width, "mean of medians · ÷ speedup over the next smaller batch", "÷ speedup", ""
            )
        if self.figure is CRITICAL:
            return self.said(width, CAPTION, "")
        if self.figure is NOISE:
            return self.said(width, "over all seeds [95 % interval]", "")
        if self.figure in LINES:
            return self.said(width, interpolation.CAPTION, "")
        text = "mean ± half its 95 % interval · × vs the smallest batch"
        return self.said(width, text, "× vs the smallest batch", "")

    def wanted_rows(self) -> int:
        """Return one row for each bar, and two for how it was measured."""
        if self.figure is CRITICAL:
            return CRITICAL_ROWS
        if self.figure in LINES:
            return LINE_ROWS
        return len(self.view.order) + 2 + (stacked(self.view.state.trials.values()) > 1)

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return a bar for each configuration that has the metric."""
        view, chosen = self.view, self.figure
        if view.all_hidden and chosen not in LINES:
            return awaited(view, view.all_hidden, width, height)
        if chosen is CRITICAL:
            return critical_rows(view, width, height)
        if chosen in LINES:
            return interpolation.between_rows(view, LINES[chosen], width, height)
        label = view.label_width(LABEL_MOST, view.preferred)
        if width < NARROW:
            label = min(label, LABEL_NARROW)
        if chosen is EPOCH_TIME:
            lines = epoch_time_rows(view, label, width)
            ended = "no trial has trained a whole epoch"
            none = ended if view.state.ended else "no whole epoch has ended yet"
            return lines or awaited(view, none, width, height)
        means = self.means()
        if not means:
            why = f"no {chosen.name} was measured" if view.state.count("finished") else _NONE
            if chosen.measure in ErrorDecomposition._fields and on_different_data(view.state):
                why = f"no {chosen.name}: {DIFFERENT}"
            return awaited(view, why, width, height)
        return [*self._lines(means, label, width), *wrap(self._note(means), width, "dim")]

    def table(self) -> Iterable[Line]:
        """Return one row per configuration; of a line between two solutions, one per point."""
        view, chosen = self.view, self.figure
        if chosen is EPOCH_TIME:
            yield "configuration", "epoch seconds", "samples per second", "speedup", "stacked"
            for time in epoch_times(view.state):
                if view.focus.hides(time.configuration):
                    continue
                label = view.marks[time.configuration].label
                yield label, time.seconds, time.samples_per_second, time.ratio, time.stacked
            return
        if chosen in LINES:
            yield from interpolation.table(view, LINES[chosen])
            return
        heads = "low (95 %)", "high (95 %)", "seeds", "of smallest", "without value"
        yield ("configuration", chosen.name, *heads)
        for name, mean in self.means().items():
            interval = mean.mean, mean.low, mean.high
            yield view.marks[name].label, *interval, mean.n, mean.normalized, mean.without_value

    def means(self) -> dict[str, Mean]:
        """Return the means that the bars show, by configuration."""
        view, chosen = self.view, self.figure
        every = view.once(
            ("bars", chosen.measure),
            (view.moved["trials"], len(view.state.data)),
            lambda: _noise(view) if chosen is NOISE else bars(view.state, chosen.measure),
        )
        return {name: mean for name, mean in every.items() if not view.focus.hides(name)}

    def _lines(self, means: dict[str, Mean], label: int, width: int) -> list[Row]:
        """Return a bar for each mean; each column is as wide as its longest text."""
        decimals = 4 if self.figure.share else places(mean.mean for mean in means.values())
        pairs = {name: self.figure.texts(mean, decimals) for name, mean in means.items()}
        factors = {name: _factor(mean) for name, mean in means.items()}
        seeds = {
            name: f" n={mean.n}" if width >= SEEDS_FROM else "" for name, mean in means.items()
        }
        columns = [
            ([value for value, _ in pairs.values()], ""),
            ([f" {spread}" if spread else "" for _, spread in pairs.values()], "dim"),
            ([*seeds.values()], "dim"),
            ([f" {factor}" for factor in factors.values()], "strong"),
        ]
        widths = [max(map(len, texts)) for texts, _ in columns]
        while len(columns) > 1 and label + 4 + sum(widths) > width:  # a cut number misleads
            columns, widths = columns[:-1], widths[:-1]
        room = width - label - 3 - sum(widths) - 1
        longest = max(abs(mean.mean) for mean in means.values())
        lines = []
        for index, (name, mean) in enumerate(means.items()):
            mark = self.view.marks[name]
            figures = [
                cell(texts[index], size, style, right=style != "dim")
                for (texts, style), size in zip(columns, widths, strict=True)
            ]
            drawn = _bar(mean.mean, longest, room)
            lines.append(row(*mark.head(label), (drawn, mark.style), " ", *figures))
        return lines

    def _note(self, means: dict[str, Mean]) -> str:
        if self.figure.measure == "step_seconds":
            sizes = stack_sizes(t for name in means for t in self.view.state.replicates(name))
            return "; ".join(filter(None, (beside_what(self.view), stack_caution(sizes))))
        counts = {mean.n for mean in means.values()}
        few, many = min(counts), max(counts)
        seeds = f"{few}" if few == many else f"{few} to {many}"
        plural = "s" if many > 1 else ""
        over = f"over {seeds} finished seed{plural} per configuration"
        box = self._box(means) if self.figure is SHARPNESS else ""
        return "; ".join(filter(None, [over, *self._missing(means), box]))

    def _missing(self, means: dict[str, Mean]) -> list[str]:
        """Return which configurations and seeds have no value, and which seeds collapsed."""
        state = self.view.state
        labels = {name: self.view.marks[name].label for name in self.view.order}
        if self.figure.setting:
            return []
        none = [
            labels[name]
            for name in self.view.shown
            if name not in means and any(t.status == "finished" for t in state.replicates(name))
        ]
        without = f"no value for {', '.join(none)}" if none else ""
        fell = [] if is_physical(self.figure.measure) else collapse_texts(state, means)
        return [without, left_out_text(means, labels), *fell]

    def _box(self, means: dict[str, Mean]) -> str:
        """Return the unit of the sharpness, and the half-widths of its boxes."""
        state = self.view.state
        sizes = {state.configurations[name].settings.sharpness.epsilon[0] for name in means}
        return f"% of 1 + loss, ε = {' or '.join(f'{size:g}' for size in sorted(sizes))}"


_NONE = "no trial has finished yet"


def _noise(view: View) -> dict[str, Mean]:
    """Return the noise scale of each configuration that has one, without any ratio."""
    return {
        each.configuration: Mean(
            each.value, each.low, each.high, each.n, None, _lacking(view.state, each.configuration)
        )
        for each in noise_scales(view.state)
        if each.value is not None and each.configuration in view.order
    }


def _lacking(state: SweepState, configuration: str) -> int:
    """Return how many finished seeds have no noise scale of their own; they are in the mean."""
    finished = [each for each in state.replicates(configuration) if each.status == "finished"]
    return sum(value_of(state, trial, NOISE.measure) is None for trial in finished)


def _factor(mean: Mean) -> str:
    """Return the ratio to the smallest batch; empty where it is not positive."""
    return f"×{mean.normalized:.2f}" if mean.normalized and mean.normalized > 0 else ""


def _bar(value: float, longest: float, room: int) -> str:
    """Return the bar of a value; a negative one is hatched, so that its sign is not overlooked."""
    if room <= 2 or not longest:
        return " " * max(0, room)
    drawn = bar(abs(value) / longest, room)
    return drawn if value >= 0 else "".join("░" if c != " " else c for c in drawn)

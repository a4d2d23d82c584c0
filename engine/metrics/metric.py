"""The types of the registry: how a metric is described, drawn and read.

The entries are in `epoch_registry`, `trial_registry` and `probe_registry`; `registry` finds them.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Literal, NamedTuple

from msgspec import Struct

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.epoch_metrics import Figure
from batchscope.engine.spec import Claim, Settings

Value = str | int | float | bool | None
"""A cell of a table; None where the value is not known."""
Better = Literal["higher", "lower", ""]
"""Which direction of a metric is better; empty where neither is."""


class Rounding(Enum):
    """How finely a value is known; `rounding_variance` turns it into a variance."""

    EXACT = "exact"
    FLOAT32 = "computed from float32 values"
    ACCURACY = "a share of the test images"
    ACCURACY_GAP = "the difference of two shares of images"
    VALIDATION_ACCURACY = "a share of the validation images"
    TARGET_EPOCHS = "epochs until a check of the target"
    TARGET_STEPS = "steps until a check of the target"
    TARGET_SAMPLES = "images until a check of the target"
    YES_NO = "0 or 1"


ACCURACIES = (Rounding.ACCURACY, Rounding.ACCURACY_GAP, Rounding.VALIDATION_ACCURACY)


class RatioParts(NamedTuple):
    """A metric that is a ratio of means, as one trial contributes to it.

    Args:
        pair: numerator and denominator.
        base: the same of the ratio by which it is divided, if there is one.
    """

    pair: tuple[float, float]
    base: tuple[float, float] | None = None


class Spot(NamedTuple):
    """Where in a training a metric is read; each part applies to the metrics that have it.

    Args:
        level: the batch size that the probe drew, or the large one of a pair. Without it the
            trial's own batch size, or the first pair.
        at_share: the moment of the probe, as a share of the budget. Without it the last moment.
        epsilon: the half-width of the box in which sharpness is measured. Without it the first.
        layer: the name of a layer.
    """

    level: float | None = None
    at_share: float | None = None
    epsilon: float | None = None
    layer: str | None = None


OWN = Spot()
"""Where a metric is read when nothing is said about it."""


def spot_of(claim: Claim, level: float | None = None) -> Spot:
    """Return the spot where a claim reads its metric, at one level if the claim is a trend."""
    keys = (key for key in Spot._fields if key != "level")
    return Spot(level, *(getattr(claim, key, None) for key in keys))


class Place(Struct, frozen=True, kw_only=True):
    """A key of a claim that says where its measure is read: a part of `Spot`.

    Args:
        key: the key of the claim, and the field of `Spot`.
        measures: the metrics that have this key, in words.
        setting: the keys of a preset without which nothing is measured.
        offered: the values that are measured under some settings; empty if there are none.
        required: whether a claim must have the key.
    """

    key: str
    measures: str
    setting: str
    offered: Callable[[Settings], Sequence[float | str]]
    required: bool = False


class Curve(Struct, frozen=True, kw_only=True):
    """How an epoch metric is drawn in the curves pane.

    Args:
        title, tab: its name there, where it differs from that of the metric.
        twin: the name of the metric that is drawn dashed in the same plot.
        steep: whether the first tenth of the curve is far from the rest.
        sized: whether it counts images, so that the batch sizes are drawn for comparison.
        held_out: whether only sweeps that hold out validation images have it.
    """

    title: str = ""
    tab: str = ""
    twin: str = ""
    steep: bool = False
    sized: bool = False
    held_out: bool = False


class Bar(Struct, frozen=True, kw_only=True):
    """How a trial metric is drawn in the bars pane.

    Args:
        setting: whether it follows from the settings alone, so that seeds do not spread.
        asked: whether settings ask for the metric; without it every sweep has the bar.
        measured: whether a trial has measured what the metric needs. Such bars appear in the
            course of a sweep, so they come after all others.
    """

    setting: bool = False
    asked: Callable[[Settings], bool] | None = None
    measured: Callable[[TrialState], bool] | None = None


class Plot(Struct, frozen=True, kw_only=True):
    """How a trial metric is drawn over the batch size in the report.

    Args:
        name: the name of the figure's files.
        title, axis, caption: the texts of the figure.
    """

    name: str
    title: str
    axis: str
    caption: str


class Metric(Struct, frozen=True, kw_only=True):
    """A metric, with all texts and properties that any place needs to show it.

    Args:
        name: its column, and its name as a measure of a claim.
        unit: its unit in `docs/export.md`.
        definition: what it is, as a row of `docs/export.md`.
        title: its name on the screen and in the report.
        tab: the same in a word or two.
        better: the direction that is better.
        rounding: how finely it is known.
    """

    name: str
    unit: str
    definition: str
    title: str = ""
    tab: str = ""
    better: Better = ""
    rounding: Rounding = Rounding.EXACT

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a share of images, which is shown in percent."""
        return self.rounding in ACCURACIES


class AtEnd(Struct, frozen=True, kw_only=True):
    """Makes a trial metric of an epoch metric: its value at the end of the last epoch.

    Args:
        definition: what it is then, as a row of `docs/export.md`.
        column: whether it is a column of `trials.csv`, or a measure of claims alone.
        summary, bar, plot: as in `TrialMetric`.
    """

    definition: str
    column: bool = True
    summary: bool = False
    bar: Bar | None = None
    plot: Plot | None = None


class EpochMetric(Metric, frozen=True, kw_only=True):
    """A column of `epochs.csv`.

    Args:
        figure: its value, computed from the record of an epoch.
        of_trial: its value where the record alone does not give it.
        scalar: whether TensorBoard shows it.
        tag: its tag in TensorBoard, if not its name.
        curve: how it is drawn in the curves pane, if it is.
        at_end: the trial metric that its last value is, if any.
    """

    figure: Figure | None = None
    of_trial: Callable[[SweepState, TrialState, EpochRecord], Value] | None = None
    scalar: bool = True
    tag: str = ""
    curve: Curve | None = None
    at_end: AtEnd | None = None

    def value(self, state: SweepState, trial: TrialState, record: EpochRecord) -> Value:
        """Return the value of one epoch of a trial; None where it is not known."""
        if self.figure is not None:
            return self.figure(record)
        return self.of_trial(state, trial, record) if self.of_trial else None


class TrialMetric(Metric, frozen=True, kw_only=True):
    """A column of `trials.csv`, or a measure of claims alone: one value a trial.

    Args:
        value: reads the value of a trial.
        value_at: reads it at a spot, for metrics that have `places`; replaces `value`.
        places: the keys of a claim that say where it is read.
        parts: for a ratio of means: reads what a trial contributes to it, even where its own ratio
            has no value. Claims and means over seeds then use the parts instead of `value`.
        column: whether it is a column of `trials.csv`.
        text: whether the value is text, so that claims cannot use it.
        before_epochs: whether it is known before the first epoch has ended.
        stack: what the replicates of a stack share: their time, or their peak of memory.
        summary: whether `findings.json` has it for each configuration.
        bar: how it is drawn in the bars pane, if it is.
        plot: how it is drawn in the report, if it is.
    """

    value: Callable[[SweepState, TrialState], Value] | None = None
    value_at: Callable[[SweepState, TrialState, Spot], Value] | None = None
    places: tuple[Place, ...] = ()
    parts: Callable[[SweepState, TrialState], RatioParts | None] | None = None
    column: bool = True
    text: bool = False
    before_epochs: bool = False
    stack: Literal["time", "peak", ""] = ""
    summary: bool = False
    bar: Bar | None = None
    plot: Plot | None = None

    def read(self, state: SweepState, trial: TrialState, spot: Spot = OWN) -> Value:
        """Return the value of a trial; None where it is not known."""
        if trial.last is None and not self.before_epochs:
            return None
        if self.value_at is not None:
            return self.value_at(state, trial, spot)
        return self.value(state, trial) if self.value else None


def last_value(metric: EpochMetric) -> TrialMetric:
    """Return the trial metric for the final value of an epoch metric.

    Raises:
        ValueError: the epoch metric has no `at_end`.
    """
    end, figure = metric.at_end, metric.figure
    if end is None or figure is None:
        raise ValueError(f"{metric.name} has no at_end, or no figure")
    return TrialMetric(
        name=metric.name,
        unit=metric.unit,
        definition=end.definition,
        title=metric.title,
        tab=metric.tab,
        better=metric.better,
        rounding=metric.rounding,
        value=lambda _, trial: figure(trial.last) if trial.last else None,
        column=end.column,
        summary=end.summary,
        bar=end.bar,
        plot=end.plot,
    )

"""The curves that are drawn, with their marks; recomputed only when there are new epochs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchscope.engine.analysis.smoothing import smoothed
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.tui.panes.curves.options import Lens
from batchscope.tui.viewmodel.marks import Mark
from batchscope.tui.viewmodel.quantities import ERROR
from batchscope.tui.viewmodel.view import View

if TYPE_CHECKING:
    from batchscope.engine.analysis.curves import Curve

RAW_MOST = 8
BANDS_MOST = 12


@dataclass(frozen=True, slots=True)
class CurveSource:
    """A sweep to draw as curves; the board's own sweep has no title."""

    key: str
    title: str
    state: SweepState
    order: Sequence[str]
    marks: dict[str, Mark]

    def stamp(self, name: str) -> object:
        """Return a value that changes when a configuration has more epochs."""
        return tuple((t.attempt, len(t.records)) for t in self.state.replicates(name))


@dataclass(frozen=True, slots=True, eq=False)
class PlottedCurve:
    """A curve, as measured (`raw`) and as drawn (`shown`).

    `planned` is the x at which its budget ends, 0 if unknown; `stamp` changes when the points or
    the mark do.
    """

    source: CurveSource
    name: str
    mark: Mark
    train: bool
    raw: "Curve"
    shown: "Curve"
    planned: float
    stamp: object

    @property
    def key(self) -> tuple[str, str, bool]:
        """The identity of the curve: its sweep, configuration and whether it is a train curve."""
        return self.source.key, self.name, self.train

    @property
    def own(self) -> bool:
        """Whether the curve belongs to the board's own sweep."""
        return not self.source.title

    @property
    def end(self) -> float:
        """The x at which the curve ends, or will end."""
        return max(self.planned, float(self.raw.x.max()))

    @property
    def spread(self) -> bool:
        """Whether the curve has a spread over two or more seeds."""
        return not self.train and bool((self.raw.n > 1).any())


def raw_behind(curves: Sequence[PlottedCurve]) -> bool:
    """Return whether measured curves are drawn behind smoothed ones: not if there are many."""
    return sum(not one.train for one in curves) <= RAW_MOST


def banded(curves: Sequence[PlottedCurve]) -> list[PlottedCurve]:
    """Return the curves to draw with a band for their spread: none if too many would overlap."""
    bands = [one for one in curves if one.spread]
    return bands if len(bands) <= BANDS_MOST else []


def own(view: View, rivals: bool = False) -> CurveSource:
    """Return the board's own sweep; with `rivals` also the candidates that it leaves out."""
    return CurveSource("", "", view.state, view.order if rivals else view.preferred, view.marks)


def gathered(view: View, sources: Sequence[CurveSource], lens: Lens) -> list[PlottedCurve]:
    """Return every curve that is not hidden; train curves first, so that test curves are on top."""
    curves = []
    for train in (True, False):
        for source in sources if not train else sources[:1]:
            if train and not lens.twins:
                continue
            curves += [
                one
                for name in source.order
                if not view.focus.hides(name, source.key)
                and (one := _drawn(view, source, name, train, lens))
            ]
    return curves


def _drawn(
    view: View, source: CurveSource, name: str, train: bool, lens: Lens
) -> PlottedCurve | None:
    raw = measured(view, source, name, train, lens)
    if not len(raw):
        return None
    mark = source.marks[name]
    looks = (lens.quantity.name, lens.quantity is ERROR, lens.over, lens.smoothing, mark)
    stamp = (source.stamp(name), *looks)
    shown = view.once(
        ("smoothed", source.key, name, train), stamp, lambda: _smooth(raw, lens.strength)
    )
    planned = 0.0 if source.title else _planned(view, name, lens)
    return PlottedCurve(source, name, mark, train, raw, shown, planned, stamp)


def measured(view: View, source: CurveSource, name: str, train: bool, lens: Lens) -> "Curve":
    """Return a curve as it was measured."""
    from batchscope.engine.analysis.curves import curve  # loads numpy

    quantity, along = lens.quantity, lens.axle.along
    measure = quantity.train if train and quantity.train else quantity.test
    key = ("curve", source.key, name, train, quantity.name, quantity is ERROR, along)
    return view.once(key, source.stamp(name), lambda: curve(source.state, name, measure, along))


def _smooth(raw: "Curve", strength: float) -> "Curve":
    """Return a curve with its mean and its deviation smoothed."""
    if not strength:
        return raw
    import numpy as np

    mean = np.array(smoothed(raw.mean.tolist(), strength))
    if not (raw.n > 1).any():
        return replace(raw, mean=mean)
    return replace(raw, mean=mean, deviation=np.array(smoothed(raw.deviation.tolist(), strength)))


def _planned(view: View, name: str, lens: Lens) -> float:
    """Return the x at which the budget ends; 0 if the budget does not determine it."""
    along = lens.axle.along
    trials = view.state.replicates(name)
    for trial in trials:
        started = trial.started
        if lens.axle.planned and started and started.total_steps:
            if started.total_samples is not None:
                return _ends_at(view, along, started.total_steps, started.total_samples, name)
            return _ends(view, along, started.total_steps, max(1, started.steps_per_epoch), name)
    budget = getattr(trials[0].settings.train, along, None) if trials else None
    return float(budget or 0)


def planned_end(view: View, lens: Lens) -> float:
    """Return the x at which the longest budget of what is shown of the sweep ends."""
    return max((_planned(view, name, lens) for name in view.shown), default=0.0)


def _ends_at(view: View, along: str, steps: int, samples: int, name: str) -> float:
    """Return the end of a budget with a changing batch size, from its total steps and images."""
    data = view.state.data.get(view.state.configurations[name].settings.data.name)
    epochs = -(-samples // data.train) if data else 0
    return float({"steps": steps, "samples": samples}.get(along, epochs))


def _ends(view: View, along: str, steps: int, an_epoch: int, name: str) -> float:
    if along == "steps":
        return float(steps)
    if along == "epochs":
        return float(-(-steps // an_epoch))
    asked = view.state.configurations[name].settings.data
    data = view.state.data.get(asked.name)
    return steps / an_epoch * training_size(asked, data.train) if data else 0.0

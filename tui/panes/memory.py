"""Memory: what the devices hold, and how each batch is cut to fit."""

from collections.abc import Sequence

from engine.events import MemorySampled
from engine.problems import printable
from engine.state import TrialState
from tui.panes.pane import Pane
from tui.panes.waiting import awaited
from tui.raster import bar
from tui.rows import EMPTY, Row, cell, row, spread, wrap
from tui.units import size


class MemoryPane(Pane):
    """The gauge of every device, then batch size = accumulation × micro-batch."""

    NUMBER, TITLE, TAB = 3, "memory", "memory"
    TOPICS = ("memory", "plans", "epochs", "trials", "data")

    def caption(self, width: int) -> Row:
        """The keys of the gauge."""
        keys = row(
            ("this sweep ", "dim"),
            ("█", "ours"),
            ("  others ", "dim"),
            ("▒", "others"),
            ("  free ", "dim"),
            ("·", "track"),
        )
        return keys if self.view.state.memory else EMPTY

    def wanted_rows(self) -> int:
        """Two a device, one a configuration and one for the reason they share."""
        return 2 * max(1, len(self.view.state.memory)) + len(self.view.order) + 1

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Devices, then configurations."""
        lines: list[Row] = []
        for samples in self.view.state.memory.values():
            lines += _device(samples[-1], width)
        plans = self._plans(width)
        if not lines and not plans:
            return awaited(self.view, "no device has been measured yet", width, height)
        return [*lines, *plans]

    def _plans(self, width: int) -> list[Row]:
        state = self.view.state
        known = []
        for name in self.view.order:
            trials = [trial for trial in state.replicates(name) if trial.id in state.plans]
            if trials:
                known.append((name, trials))
        reasons = [state.plans[trials[0].id].reason for _, trials in known]
        shared = reasons[0] if len(set(reasons)) == 1 else ""
        widest = max((len(f"{state.plans[t[0].id].batch_size:,}") for _, t in known), default=1)
        lines = [self._plan(name, trials, widest, width, not shared) for name, trials in known]
        return lines + ([row(("why: " + printable(shared), "dim"))] if shared else [])

    def _plan(
        self, name: str, trials: list[TrialState], digits: int, width: int, with_reason: bool
    ) -> Row:
        plan, mark = self.view.state.plans[trials[0].id], self.view.marks[name]
        cut = f"{plan.batch_size:>{digits},} = {plan.accumulation_steps:,} × "
        left = row(
            (mark.glyph, mark.style),
            " ",
            cut,
            f"{plan.micro_batch_size:<{digits},}",
            *_peak(trials),
        )
        if not with_reason:
            return left
        reason = row((printable(plan.reason), "dim"))
        room = width - sum(len(text) for text, _ in left) - 2
        return (*left, ("  ", ""), *reason) if room > 12 else spread(left, EMPTY, width)


def _peak(trials: list[TrialState]) -> Row:
    """The most that any seed's training held at once, where the device counts it."""
    peaks = [record.peak_memory_bytes for trial in trials for record in trial.records]
    known = [peak for peak in peaks if peak is not None]
    return row("  ", cell(size(max(known)), 9, right=True), (" at peak", "dim")) if known else EMPTY


def _device(sample: MemorySampled, width: int) -> list[Row]:
    name = f"{printable(sample.device)}  {printable(sample.name)}"
    if sample.total <= 0:
        return [*wrap(name, width, "strong"), row(("its memory cannot be read", "warn"))]
    free = max(0, sample.total - sample.ours - sample.others)
    figures = row(
        " ",
        cell(size(sample.ours), 8, "ours", right=True),
        (" · ", "dim"),
        cell(size(sample.others), 8, "others", right=True),
        (" · ", "dim"),
        cell(f"{size(free)} free", 13, right=True),
    )
    room = width - sum(len(text) for text, _ in figures)
    title = spread(row((name, "strong")), row((size(sample.total), "strong")), width)
    if room < 8:
        return [title, figures]
    ours = bar(sample.ours / sample.total, room).rstrip()
    others = min(room - len(ours), max(1, round(sample.others / sample.total * room)))
    others = others if sample.others else 0
    gauge = row(
        (ours, "ours"), ("▒" * others, "others"), ("·" * (room - len(ours) - others), "track")
    )
    return [title, (*gauge, *figures)]

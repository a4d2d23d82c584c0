"""The pane of memory: use of each device, and how each batch is cut into micro-batches."""

import math
from collections.abc import Iterable, Sequence

from batchscope.engine.analysis.figures import chosen_shape, pace_of
from batchscope.engine.analysis.stack_times import stack_mark, stacked
from batchscope.engine.errors import printable
from batchscope.engine.formatting import shown_size
from batchscope.engine.journal.events import MemorySampled
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.planning.micro_batch import HEADROOM, Shape
from batchscope.engine.planning.plan import Plan
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.block_bars import LEVELS, bar
from batchscope.tui.render.styled_text import EMPTY, Row, cell, row, spread, width_of, wrap
from batchscope.tui.render.units import rate

HISTORY = "history "
LABEL_MOST, PACE_FROM = 18, 40


class MemoryPane(Pane):
    """A gauge per device, then batch size = accumulation steps × micro-batch per configuration."""

    NAME, TITLE = "memory", "memory"
    TOPICS = ("memory", "plans", "epochs", "trials", "data")

    def caption(self, width: int) -> Row:
        """Return the legend of the gauge."""
        keys = row(
            ("this sweep ", "dim"),
            ("█", "ours"),
            ("  others ", "dim"),
            ("▒", "others"),
            ("  free ", "dim"),
            ("·", "track"),
            ("  headroom ", "dim"),
            ("░", "track"),
        )
        return keys if self.view.state.memory else EMPTY

    def table(self) -> Iterable[Line]:
        """Return how the batch of each configuration is cut, with its memory and speed."""
        view = self.view
        yield (
            "configuration", "batch size", "micro-batch size", "accumulation steps",
            "peak bytes", "samples per second (steps)", "reason", "samples per second (epochs)",
        )  # fmt: skip
        for name in view.shown:
            trials = [each for each in view.state.replicates(name) if each.id in view.state.plans]
            if trials:
                plan, shape = view.state.plans[trials[0].id], chosen_shape(view.state, trials[0])
                peaks = [
                    r.peak_memory_bytes for t in trials for r in t.records if r.peak_memory_bytes
                ]
                yield (
                    view.marks[name].label,
                    plan.largest,
                    plan.micro_batch_size,
                    plan.accumulation_steps,
                    max(peaks, default=shape.peak_bytes if shape else None),
                    shape.samples_per_second if shape else None,
                    plan.reason,
                    self._pace(name),
                )

    def wanted_rows(self) -> int:
        """Count two rows per device, one per configuration, a shared reason and the driver."""
        return 2 * max(1, len(self.view.state.memory)) + len(self.view.order) + 2

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return devices, then configurations, then a remark if there is no GPU."""
        plans = self._plans(width)
        devices = self.view.state.memory.values()
        roomy = height >= 3 * len(devices) + len(plans) + 1
        lines: list[Row] = []
        for samples in devices:
            lines += _device(samples[-1], width)
            if roomy:
                lines.append(_history(samples, width))
        if not lines and not plans:
            return awaited(self.view, "No memory measured yet", width, height)
        return [*lines, *plans, *self._driver(width)]

    def _driver(self, width: int) -> list[Row]:
        """Return why no GPU is used, if that is so."""
        conductor = self.view.state.conductor
        said = conductor.machine.get("driver") if conductor else None
        gpus = any(name.startswith("cuda") for name in self.view.state.memory)
        return [] if gpus or not said else wrap(printable(said), width, "dim")

    def _plans(self, width: int) -> list[Row]:
        state = self.view.state
        known = []
        for name in self.view.shown:
            trials = [trial for trial in state.replicates(name) if trial.id in state.plans]
            if trials:
                known.append((name, trials))
        reasons = {_short(state.plans[trials[0].id]) for _, trials in known}
        shared = reasons.pop() if len(reasons) == 1 else ""
        widest = max((len(_divided(state.plans[t[0].id])) for _, t in known), default=1)
        room = max((len(self._stack(name)) for name, _ in known if self._peak(name)), default=0)
        sizes = [state.plans[trials[0].id].largest for _, trials in known]
        label = 0
        if len(set(sizes)) < len(sizes):
            label = self.view.label_width(LABEL_MOST, (name for name, _ in known))
        lines: list[Row] = []
        for name, trials in known:
            lines += self._plan(name, trials, (label, widest, room), width, not shared)
        return lines + ([row(("why: " + printable(shared), "dim"))] if shared else [])

    def _peak(self, name: str) -> int:
        """Return the peak bytes of live tensors in any epoch of any seed; 0 before the first."""

        def highest() -> int:
            from batchscope.engine.metrics.epoch_arrays import most  # loads numpy

            trials = self.view.state.replicates(name)
            return int(max(most(trial.records, "peak_memory_bytes") for trial in trials))

        return self.view.once(("peak", name), self.view.reached(name), highest)

    def _pace(self, name: str) -> float | None:
        """Return the samples per second of whole epochs, as next to epoch times; None before."""
        stamp = self.view.reached(name), self.view.moved["trials"]
        return self.view.once(("pace", name), stamp, lambda: pace_of(self.view.state, name)[1])

    def _label(self, name: str, room: int) -> Row:
        """Return the mark, with a label of `room` cells if batch sizes do not tell rows apart."""
        mark = self.view.marks[name]
        if room:
            return row((mark.glyph, mark.style), " ", cell(mark.label, room), " ")
        return row((mark.glyph, mark.style), " ")

    def _stack(self, name: str) -> str:
        """Return the mark of replicates that were measured together as a stack."""
        return stack_mark(stacked(self.view.state.replicates(name)))

    def _plan(
        self,
        name: str,
        trials: list[TrialState],
        columns: tuple[int, int, int],
        width: int,
        with_reason: bool,
    ) -> list[Row]:
        """Return a configuration's row, with the reason behind it or below if it is long.

        Args:
            name: the configuration.
            trials: its planned trials.
            columns: cells for the label, for batch sizes, and for the marks of stacks.
            width: cells of a row.
            with_reason: whether the reason is not said below for all.
        """
        plan, (label, digits, room) = self.view.state.plans[trials[0].id], columns
        cut = f"{_divided(plan):>{digits}} = {plan.accumulation_steps:,} × "
        left = row(
            *self._label(name, label),
            cut,
            f"{plan.micro_batch_size:<{digits},}",
            " bf16" if plan.precision == "bf16" else "",
            *_measured(
                self._peak(name),
                chosen_shape(self.view.state, trials[0]),
                self._pace(name) if width >= PACE_FROM + label else None,
                f"{self._stack(name) if self._peak(name) else '':<{room}}",
            ),
        )
        if not with_reason:
            return [left]
        # the row already says how the batch is cut
        reason = printable(
            plan.reason.rpartition(": ")[2] if " × " in plan.reason else _short(plan)
        )
        if width_of(left) + 2 + len(reason) <= width:
            return [(*left, ("  ", ""), (reason, "dim"))]
        return [left, *((("  ", ""), *line) for line in wrap(reason, width - 2, "dim"))]


def _divided(plan: Plan) -> str:
    """Return the batch size, and the number of workers it is divided among."""
    over = f"/{plan.data_parallel}" if plan.data_parallel > 1 else ""
    return f"{plan.largest:,}{over}"


def _short(plan: Plan) -> str:
    """Return the reason; without its numbers if the batch is whole: the row has them."""
    whole = plan.micro_batch_size == plan.share
    return plan.reason.partition(": ")[0] if whole else plan.reason


def _measured(peak: int, shape: Shape | None, pace: float | None, mark: str) -> Row:
    """Return peak memory and samples per second of whole epochs.

    The peak is that of any epoch of any seed, or of the measured step before the first epoch,
    which is of one replicate. `mark` is that of a stack.
    """
    most = peak or (shape.peak_bytes if shape else 0)
    figures = row("  ", cell(shown_size(most), 9, right=True)) if most else EMPTY
    if figures and mark:
        figures = (*figures, (f" {mark}", "warn"))
    if pace:
        return (*figures, cell(rate(pace), 12, right=True))
    return (*figures, (" peak", "dim")) if figures else EMPTY


def _history(samples: Iterable[MemorySampled], width: int) -> Row:
    """Return the device's memory use over time, the latest on the right."""
    shares = [(s.ours + s.others) / s.total if s.total > 0 else 0.0 for s in samples]
    latest = shares[-max(1, width - len(HISTORY)) :]
    levels = "".join(LEVELS[min(8, max(1, math.ceil(share * 8)))] for share in latest)
    return row((HISTORY, "dim"), (levels, "ours"))


def _device(sample: MemorySampled, width: int) -> list[Row]:
    name = f"{printable(sample.device)}  {printable(sample.name)}"
    if sample.total <= 0:
        return [*wrap(name, width, "strong"), row(("memory cannot be read", "warn"))]
    free = max(0, sample.total - sample.ours - sample.others)
    figures = row(
        " ",
        cell(shown_size(sample.ours), 8, "ours", right=True),
        (" · ", "dim"),
        cell(shown_size(sample.others), 8, "others", right=True),
        (" · ", "dim"),
        cell(f"{shown_size(free)} free", 13, right=True),
    )
    room = max(0, width - sum(len(text) for text, _ in figures))
    total = row((shown_size(sample.total), "strong"))
    title = spread(row((name, "strong"), *_busy(sample)), total, width)
    if room < 8:
        return [title, figures]
    return [title, (*_gauge(sample, room), *figures)]


def _gauge(sample: MemorySampled, room: int) -> Row:
    """Return the gauge: this sweep, others, free, headroom, and what a limit excludes."""
    ours = bar(sample.ours / sample.total, room).rstrip()
    others = min(room - len(ours), max(1, round(sample.others / sample.total * room)))
    others = others if sample.others else 0
    free = room - len(ours) - others
    kept, barred = (min(free, round(each / sample.total * room)) for each in _kept(sample))
    barred = min(barred, free - kept)
    return row(
        (ours, "ours"),
        ("▒" * others, "others"),
        ("·" * (free - kept - barred), "track"),
        ("░" * kept, "track"),
        (" " * barred, ""),
    )


def _kept(sample: MemorySampled) -> tuple[float, float]:
    """Return the bytes of headroom, and the bytes that a limit excludes.

    On a CPU a limit counts tensors only, but use counts all memory of the processes.
    """
    most = max(0, sample.total - sample.others)  # a driver may count swapped-out memory
    if sample.limit is None or sample.device == "cpu":
        return HEADROOM * most, 0.0
    allowed = min(most, sample.limit)
    return HEADROOM * allowed, most - allowed


def _busy(sample: MemorySampled) -> Row:
    """Return load, temperature and power of a GPU as its driver reports them, and the limit."""
    parts = [
        f"{sample.utilization} % busy" if sample.utilization is not None else "",
        f"{sample.temperature} °C" if sample.temperature is not None else "",
        f"{sample.power:.0f} W" if sample.power is not None else "",
        f"tensors limited to {shown_size(sample.limit)}, a tenth of it headroom"
        if sample.limit is not None
        else "",
    ]
    text = "  ".join(part for part in parts if part)
    return row((f"  {text}", "dim")) if text else EMPTY

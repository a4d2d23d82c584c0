"""Builds the tables of a report: headings, rows of cells, and how many rows are not shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batchscope.engine.analysis.stack_times import NARROW, stack_mark, stack_note
from batchscope.engine.export.export_reader import Cell, Exported
from batchscope.engine.metrics.collapse import collapse_remark

MOST_ROWS, MOST_TRIALS = 60, 300
STACKED = (
    "“Stacked” is the number of replicates that trained together. Times and peaks are those of the "
    "whole stack, and can be compared only between stacks of the same size."
)
ALIKE = "only stacks of equal size are compared"
INTERVALS = "Means over the finished seeds with 95 % intervals (Student's t)."
COLLAPSED = (
    " Seeds that collapsed or learned nothing finished no better than guessing, or lost more than "
    "half of what they had learned; a mean that includes them describes neither them nor the "
    "others."
)
ODD = ("failed", "diverged", "stopped", "skipped")


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table with its title and notes.

    Attributes:
        key: name of the table in code and tests.
        title: heading above the table.
        heads: heading of each column; a unit follows the last ", ".
        rows: the rows that are shown.
        about: explanation above the table.
        texts: indices of the columns that are not numbers.
        left_out: how many rows are not shown; empty if all are.
    """

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    about: str = ""
    texts: frozenset[int] = field(default=frozenset({0}))
    left_out: str = ""


def tables(of: Exported) -> Iterator[ReportTable]:
    """Yield every table that has a row, without those of trials and of the memory plan."""
    for make in (_configurations, _critical, _pareto, _parts, _noise, _probes, _contests):
        made = make(of)
        if made.rows:
            yield made


def _configurations(of: Exported) -> ReportTable:
    """Build the table of results by configuration."""
    rows = of.findings["findings"]["configurations"]
    has = {name for row in rows for name in row["figures"]}
    optional = [
        ("sharpness", "sharpness, %", "number"),
        ("distance_from_init", "distance from initial weights", "number"),
    ]
    primary = of.primary
    gap = [("generalization_gap", "gap, points", "percent")] if primary.is_accuracy else []
    columns = [
        (primary.measure, primary.head, primary.style),
        *gap,
        *(column for column in optional if column[0] in has),
        ("epoch_seconds", "epoch, s", "number"),
        ("samples_per_second", "samples/s", "count"),
    ]

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[at]
        label = f"{here['label']} {stack_mark(here.get('stacked', 1))}".rstrip()
        path = ("findings", "configurations", at)
        means = [of.mean(*path, "figures", name, style=style) for name, _, style in columns]
        fell = collapse_remark(here.get("collapsed", ()), here["finished"])
        seeds = f"{here['finished']} of {here['seeds']}"
        return (label, f"{seeds}; {fell}" if fell else seeds, *means)

    note = stack_note([each.get("stacked", 1) for each in rows])
    return table_of(
        "configurations",
        "Results by configuration",
        ("configuration", "finished seeds", *(head for _, head, _ in columns)),
        len(rows),
        row,
        f"{INTERVALS} An interval may extend beyond possible values, such as 100 % or 0 seconds."
        + (" The gap is training accuracy − test accuracy." if gap else "")
        + (COLLAPSED if any(each.get("collapsed") for each in rows) else "")
        + (f" {note}. {NARROW}" if note else ""),
        texts={0, 1},
    )


def _critical(of: Exported) -> ReportTable:
    """Build the table of the cost to reach the target."""
    rows = of.findings.get("critical_batch_size", {}).get("sizes", [])
    note = stack_note([each.get("stacked", 1) for each in rows])
    short = any(each.get("lr_reached") is not None for each in rows)

    def row(at: int) -> tuple[Cell, ...]:
        path = ("critical_batch_size", "sizes", at)
        label = f"{rows[at]['label']} {stack_mark(rows[at].get('stacked', 1))}".rstrip()
        sure = rows[at]["sure"] or rows[at]["regime"] == "undetermined"
        return (
            label,
            of.found(*path, "lr"),
            *([of.found(*path, "lr_reached")] if short else []),
            *(of.found(*path, name, style="count") for name in ("steps", "samples")),
            of.found(*path, "seconds"),
            rows[at]["regime"] + ("" if sure else " (perhaps)"),
        )

    return table_of(
        "critical",
        "Cost to reach the target",
        (
            *("configuration", "learning rate after scaling", *(["highest used"] if short else [])),
            *("steps", "samples", "seconds", "regime"),
        ),
        len(rows),
        row,
        "Means over the seeds. Regimes after Shallue et al. 2018: in perfect scaling a training "
        "takes at most a fifth more samples than the minimum, in maximal data parallelism at most "
        "a fifth more steps. “Perhaps” means that the interval of the critical batch size allows "
        "another regime too."
        + (" “Highest used” is given where a warmup did not reach the rate." if short else "")
        + (f" {note}." if note else ""),
        texts={0, 6 if short else 5},
    )


def _pareto(of: Exported) -> ReportTable:
    """Build the table of the Pareto front."""
    rows = of.findings.get("pareto", [])
    primary = of.primary
    value = "accuracy" if primary.is_accuracy else "value"
    good = "accurate" if primary.is_accuracy else f"good in {primary.title}"
    note = stack_note([each.get("stacked", 1) for each in rows])

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[at]
        label = f"{here['label']} {stack_mark(here.get('stacked', 1))}".rstrip()
        where = "front" if here["front"] else "behind" + (", significant" if here["told"] else "")
        return (
            label,
            of.mean("pareto", at, "seconds"),
            of.mean("pareto", at, value, style=primary.style),
            where,
        )

    return table_of(
        "pareto",
        f"Training time against {primary.title}",
        ("configuration", "training, s", primary.head, "front"),
        len(rows) if len(rows) > 1 else 0,
        row,
        f"A configuration is on the front if no other one is at least as fast and as {good}, and "
        "better in one of the two, by the means. “Significant”: one on the front is at least as "
        "good in both means and significantly better in one of them (level 0.05, adjusted by Holm "
        "for the number of such tests)." + (f" {note}; {ALIKE}." if note else ""),
        texts={0, 3},
    )


def _parts(of: Exported) -> ReportTable:
    """Build the table of bias and variance."""
    name = "bias_variance.csv"
    rows = of.rows(name)
    parts = ("error", "bias", "net_variance", "variance")

    def row(at: int) -> tuple[Cell, ...]:
        cells = []
        for part in parts:
            cells += [
                of.cell(name, at, part, "percent"),
                of.cell(name, at, f"{part}_se", "percent"),
            ]
        return (rows[at]["label"], of.cell(name, at, "seeds", "count"), *cells)

    heads = [head for part in parts for head in (f"{part.replace('_', ' ')}, %", "±")]
    return table_of(
        "parts",
        "Bias and variance of the test error",
        ("configuration", "seeds", *heads),
        len(rows),
        row,
        "After Domingos 2000: error = bias + net variance. ± is the jackknife standard error over "
        "the seeds, in points; with three seeds it is known only for the error.",
    )


def _noise(of: Exported) -> ReportTable:
    """Build the table of gradient noise scales."""
    rows = of.findings.get("noise_scale", [])

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[at]
        return (
            here["label"],
            of.found("noise_scale", at, "value", style="count"),
            _end(of, at, "low"),
            _end(of, at, "high"),
            of.found("noise_scale", at, "draws", style="count"),
            of.found("noise_scale", at, "sgd_noise_scale"),
            of.found("noise_scale", at, "value_train", style="count"),
            here["reason"] or _unbounded(here),
        )

    heads = ("noise scale, samples", "from", "to", "draws", "noise scale of SGD", "training set")
    return table_of(
        "noise",
        "Gradient noise scale",
        ("configuration", *heads, "remarks"),
        len(rows) if any(each["draws"] for each in rows) else 0,
        row,
        "tr(Σ)/|G|² over the whole run (McCandlish et al. 2018), with Fieller's 95 % interval over "
        "the seeds; a lower end below 0 is shown as 0. The noise scale of SGD follows from the "
        "settings alone (Smith and Le 2017) and has the unit of the learning rate. The noise scale "
        "of the training set is corrected for batches that hold no sample twice: as it nears the "
        "number of training samples, the first column diverges.",
        texts={0, 7},
    )


def _end(of: Exported, at: int, key: str) -> Cell:
    """Return an end of the interval, at least 0 because no noise scale is negative."""
    value = of.findings["noise_scale"][at][key]
    return (
        "0" if value is not None and value < 0 else of.found("noise_scale", at, key, style="count")
    )


def _unbounded(row: dict[str, Any]) -> str:
    """Return why a known noise scale has no interval; empty if it has one."""
    if row["value"] is None or row["low"] is not None:
        return ""
    return (
        "no interval: the seeds cannot distinguish |G|² from 0"
        if row["n"] > 1
        else "one seed gives no interval"
    )


def _probes(of: Exported) -> ReportTable:
    """Build the table of gradients at frozen weights."""
    figures = ("norm_mean", "norm_cv", "kurtosis", "pairwise_cosine")
    return _drawn(
        of,
        "probes",
        "Gradients at frozen weights",
        ("batch_size",),
        ("probed batch size",),
        figures,
        f"{INTERVALS} At each share of the budget the training paused, and gradients of many "
        "random batches of each size were computed at the same weights.",
    )


def _contests(of: Exported) -> ReportTable:
    """Build the table of small steps compared with one large step."""
    figures = ("cosine", "length_ratio", "straightness", "step_cosine")
    return _drawn(
        of,
        "competitions",
        "Small steps compared with one large step",
        ("small", "large"),
        ("small batch", "large batch"),
        figures,
        f"{INTERVALS} Several steps with the small batch and one step with the large batch, on the "
        "same samples from the same weights; docs/export.md defines the measures.",
    )


def _drawn(
    of: Exported,
    key: str,
    title: str,
    sizes: tuple[str, ...],
    heads: tuple[str, ...],
    figures: tuple[str, ...],
    about: str,
) -> ReportTable:
    rows: list[dict[str, Any]] = of.findings["findings"].get(key, [])

    def row(at: int) -> tuple[Cell, ...]:
        path = ("findings", key, at)
        return (
            rows[at]["label"],
            f"{100 * rows[at]['at_share']:g} %",
            *(of.found(*path, size, style="count") for size in sizes),
            *(of.mean(*path, name) for name in figures),
        )

    names = [name.replace("_", " ") for name in figures]
    all_heads = ("configuration", "share of the budget", *heads, *names)
    return table_of(key, title, all_heads, len(rows), row, about)


def memory_plan(of: Exported) -> ReportTable:
    """Build the table of the micro-batch sizes that were chosen, and why."""
    name = "memory.csv"
    rows = of.rows(name)
    chosen = [at for at, row in enumerate(rows) if row["chosen"] == "true"]
    chosen.sort(key=lambda at: int(rows[at]["batch_size"]))  # the file ends with preset ones

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[chosen[at]]
        return (
            f"{here['model']} on {here['device']} {stack_mark(int(here['stacked'] or 1))}".rstrip(),
            *(
                of.cell(name, chosen[at], column, style)
                for column, style in (
                    ("batch_size", "count"),
                    ("micro_batch_size", "count"),
                    ("peak_memory_bytes", "bytes"),
                    ("limit_bytes", "bytes"),
                    ("samples_per_second", "count"),
                )
            ),
            here["reason"],
        )

    return table_of(
        "memory",
        "Memory plan",
        (
            "network",
            "batch size",
            "micro-batch",
            "peak",
            "limit per worker",
            "throughput, samples/s",
            "reason",
        ),
        len(chosen),
        row,
        "The micro-batch sizes that were chosen by a measurement before the first step, or set by "
        "the preset; memory.csv has every size that was tried. The throughput is that of whole "
        "steps of one replicate in this measurement, or that of the epochs if the preset set the "
        "size. × marks the peak and the throughput of a stack.",
        texts={0, 6},
    )


def _short(rows: list[dict[str, str]]) -> bool:
    """Return whether a trial used no learning rate as high as its `lr`, because of its warmup."""
    rates = [(each["lr_reached"], each["lr"]) for each in rows if each.get("lr_reached")]
    return any(float(reached) < float(lr) * (1 - 1e-9) for reached, lr in rates)


def trials(of: Exported) -> ReportTable:
    """Build the table of trials."""
    name = "trials.csv"
    rows = of.rows(name)
    primary = of.primary
    accurate = primary.is_accuracy
    told = (
        (primary.train_measure, primary.train_head, primary.style),
        (primary.measure, primary.head, primary.style),
        *([("generalization_gap", "gap, points", "percent")] if accurate else []),
        *([("test_loss", "test loss", "number")] if primary.measure != "test_loss" else []),
    )
    columns = (
        ("batch_size", "batch size", "count"),
        ("micro_batch_size", "micro-batch", "count"),
        ("seed", "seed", "level"),
        ("lr", "learning rate", "number"),
        *((("lr_reached", "highest used", "number"),) if _short(rows) else ()),
        ("epochs", "epochs", "count"),
        ("steps", "steps", "count"),
        *dict.fromkeys(told),
        ("epoch_seconds", "epoch, s", "number"),
        ("peak_memory_bytes", "peak", "bytes"),
        ("stacked", "stacked", "count"),
    )
    shared = any(each["stacked"] not in ("", "1") for each in rows)

    def row(at: int) -> tuple[Cell, ...]:
        cells = [of.cell(name, at, column, style) for column, _, style in columns]
        return (rows[at]["trial"], rows[at]["status"], *cells)

    heads = ("trial", "status", *(head for _, head, _ in columns))
    return table_of(
        "trials",
        "Trials",
        heads,
        len(rows),
        row,
        STACKED if shared else "",
        most=MOST_TRIALS,
        texts={0, 1},
    )


def odd_trials(of: Exported) -> ReportTable:
    """Build the table of trials that did not finish, and why."""
    rows = [each for each in of.rows("trials.csv") if each["status"] in ODD]

    def row(at: int) -> tuple[Cell, ...]:
        return rows[at]["trial"], rows[at]["status"], rows[at]["reason"]

    heads = ("trial", "status", "reason")
    return table_of("odd", "Trials that did not finish", heads, len(rows), row, texts={0, 1, 2})


def table_of(
    key: str,
    title: str,
    heads: tuple[str, ...],
    count: int,
    row: Callable[[int], tuple[Cell, ...]],
    about: str = "",
    most: int = MOST_ROWS,
    texts: set[int] | frozenset[int] = frozenset({0}),
) -> ReportTable:
    """Build a table of `count` rows, and show at most `most` of them."""
    rows = tuple(row(at) for at in range(min(count, most)))
    hidden = count - most
    more = f"{hidden:,} more row{'s are' if hidden > 1 else ' is'} not shown." if hidden > 0 else ""
    return ReportTable(key, title, heads, rows, about, frozenset(texts), more)

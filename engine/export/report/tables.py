"""The tables of a report: heads, rows of cells, and how much of them is left out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batchscope.engine.analysis.stack_times import NARROW, stack_mark, stack_note
from batchscope.engine.export.export_reader import Cell, Exported

MOST_ROWS, MOST_TRIALS = 60, 300
STACKED = (
    "So many as “stacked” says trained together: times and peaks are those of the whole stack, and "
    "compare with those of equal stacks only."
)
ALIKE = "those that were stacked alike have a front of their own"
ODD = ("failed", "diverged", "stopped", "skipped")


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table with what stands above and below it; `texts` are the columns that are not numbers."""

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    about: str = ""
    texts: frozenset[int] = field(default=frozenset({0}))
    left_out: str = ""


def tables(of: Exported) -> Iterator[ReportTable]:
    """Every table that has a row; the single trials and the plan of memory are apart."""
    for make in (_configurations, _critical, _pareto, _parts, _noise, _probes, _contests):
        made = make(of)
        if made.rows:
            yield made


def _configurations(of: Exported) -> ReportTable:
    """Each configuration over its seeds."""
    rows = of.findings["findings"]["configurations"]
    has = {name for row in rows for name in row["figures"]}
    optional = [
        ("sharpness", "sharpness, %", "number"),
        ("distance_from_init", "distance from init", "number"),
    ]
    columns = [
        ("test_accuracy", "test accuracy, %", "percent"),
        ("generalization_gap", "gap, points", "percent"),
        *(column for column in optional if column[0] in has),
        ("epoch_seconds", "epoch, s", "number"),
        ("samples_per_second", "samples/s", "count"),
    ]

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[at]
        label = f"{here['label']} {stack_mark(here.get('stacked', 1))}".rstrip()
        path = ("findings", "configurations", at)
        means = [of.mean(*path, "figures", name, style=style) for name, _, style in columns]
        return (label, f"{here['finished']} of {here['seeds']}", *means)

    note = stack_note([each.get("stacked", 1) for each in rows])
    return _table(
        "configurations",
        "Each configuration over its seeds",
        ("configuration", "finished seeds", *(head for _, head, _ in columns)),
        len(rows),
        row,
        "Means over the finished seeds, with intervals of coverage 0.95 by Student's t, which may "
        "reach beyond what there is: over 100 %, or below 0 seconds."
        + (f" {note}. {NARROW}" if note else ""),
    )


def _critical(of: Exported) -> ReportTable:
    """What each batch size took to the target."""
    rows = of.findings.get("critical_batch_size", {}).get("sizes", [])
    note = stack_note([each.get("stacked", 1) for each in rows])

    def row(at: int) -> tuple[Cell, ...]:
        path = ("critical_batch_size", "sizes", at)
        label = f"{rows[at]['label']} {stack_mark(rows[at].get('stacked', 1))}".rstrip()
        sure = rows[at]["sure"] or rows[at]["regime"] == "undetermined"
        return (
            label,
            of.found(*path, "lr"),
            *(of.found(*path, name, style="count") for name in ("steps", "samples")),
            of.found(*path, "seconds"),
            rows[at]["regime"] + ("" if sure else " (perhaps)"),
        )

    return _table(
        "critical",
        "To the target",
        ("configuration", "rate after scaling", "steps", "samples", "seconds", "regime"),
        len(rows),
        row,
        "Means over the seeds until the target was reached. Regimes after Shallue et al. 2018: "
        "samples, or steps, at most a fifth above the fewest; “perhaps” where the interval of the "
        "critical batch size leaves another open." + (f" {note}." if note else ""),
        texts={0, 5},
    )


def _pareto(of: Exported) -> ReportTable:
    """Time against accuracy."""
    rows = of.findings.get("pareto", [])
    note = stack_note([each.get("stacked", 1) for each in rows])

    def row(at: int) -> tuple[Cell, ...]:
        here = rows[at]
        label = f"{here['label']} {stack_mark(here.get('stacked', 1))}".rstrip()
        where = "front" if here["front"] else "behind" + (", told apart" if here["told"] else "")
        return (
            label,
            of.mean("pareto", at, "seconds"),
            of.mean("pareto", at, "accuracy", style="percent"),
            where,
        )

    return _table(
        "pareto",
        "Time against accuracy",
        ("configuration", "training, s", "test accuracy, %", "front"),
        len(rows) if len(rows) > 1 else 0,
        row,
        "On the front no other configuration is at least as fast and as accurate and better in "
        "one, by the means. “Told apart”: one of the front is ahead in both, and in one of them by "
        "more than the seeds leave to chance (level 0.05)."
        + (f" {note}; {ALIKE}." if note else ""),
        texts={0, 3},
    )


def _parts(of: Exported) -> ReportTable:
    """Bias and variance."""
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
    return _table(
        "parts",
        "Bias and variance of the test error",
        ("configuration", "seeds", *heads),
        len(rows),
        row,
        "After Domingos 2000: error = bias + net variance. ± is the jackknife's standard error "
        "over the seeds, in points; the parts of three seeds have none.",
    )


def _noise(of: Exported) -> ReportTable:
    """The noise scale of the gradients."""
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
            here["reason"] or _unbounded(here),
        )

    heads = ("noise scale, samples", "from", "to", "draws", "noise scale of SGD")
    return _table(
        "noise",
        "Gradient noise scale",
        ("configuration", *heads, "remarks"),
        len(rows) if any(each["draws"] for each in rows) else 0,
        row,
        "tr(Σ)/|G|² over the whole run (McCandlish et al. 2018) with Fieller's interval over the "
        "seeds, an end below 0 shown as 0; beside it the noise scale of SGD, which follows from "
        "the settings alone (Smith and Le 2017), in the unit of the rate.",
        texts={0, 6},
    )


def _end(of: Exported, at: int, key: str) -> Cell:
    """An end of the interval; no noise scale is negative, so none is shown below 0."""
    value = of.findings["noise_scale"][at][key]
    return (
        "0" if value is not None and value < 0 else of.found("noise_scale", at, key, style="count")
    )


def _unbounded(row: dict[str, Any]) -> str:
    """Why a noise scale that is known has no interval."""
    if row["value"] is None or row["low"] is not None:
        return ""
    return "unbounded: |G|² not told from 0" if row["n"] > 1 else "one seed has no interval"


def _probes(of: Exported) -> ReportTable:
    """What was drawn at frozen weights."""
    figures = ("norm_mean", "norm_cv", "kurtosis", "pairwise_cosine")
    return _drawn(
        of,
        "probes",
        "Gradients drawn at the same weights",
        ("batch_size",),
        ("batch size drawn",),
        figures,
        "Means over the finished seeds with intervals of coverage 0.95.",
    )


def _contests(of: Exported) -> ReportTable:
    """Small steps against one large step."""
    figures = ("cosine", "length_ratio", "straightness", "step_cosine")
    return _drawn(
        of,
        "competitions",
        "Small steps against one large step",
        ("small", "large"),
        ("small", "large"),
        figures,
        "Means over the finished seeds with intervals of coverage 0.95; docs/export.md defines "
        "the figures.",
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
    all_heads = ("configuration", "at share", *heads, *names)
    return _table(key, title, all_heads, len(rows), row, about)


def memory_plan(of: Exported) -> ReportTable:
    """Which micro-batch sizes were chosen, and why."""
    name = "memory.csv"
    rows = of.rows(name)
    chosen = [at for at, row in enumerate(rows) if row["chosen"] == "true"]
    chosen.sort(key=lambda at: int(rows[at]["batch_size"]))  # what the preset gives is last

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

    return _table(
        "memory",
        "The plan of memory",
        (
            "network",
            "batch size",
            "micro-batch",
            "peak",
            "a worker may hold",
            "step, samples/s",
            "why",
        ),
        len(chosen),
        row,
        "What was measured before the first step of the trials that are alike, or what the preset "
        "gave; memory.csv has every size that was tried. The pace is that of whole "
        "steps of one replicate, timed then, and not that of the epochs, but for a size that the "
        "preset gave; × marks the peak and the pace of a stack.",
        texts={0, 6},
    )


def trials(of: Exported) -> ReportTable:
    """One row a trial."""
    name = "trials.csv"
    rows = of.rows(name)
    columns = (
        ("batch_size", "batch size", "count"),
        ("micro_batch_size", "micro-batch", "count"),
        ("seed", "seed", "level"),
        ("lr", "rate", "number"),
        ("epochs", "epochs", "count"),
        ("steps", "steps", "count"),
        ("train_accuracy", "train, %", "percent"),
        ("test_accuracy", "test, %", "percent"),
        ("generalization_gap", "gap, points", "percent"),
        ("test_loss", "test loss", "number"),
        ("epoch_seconds", "epoch, s", "number"),
        ("peak_memory_bytes", "peak", "bytes"),
        ("stacked", "stacked", "count"),
    )
    shared = any(each["stacked"] not in ("", "1") for each in rows)

    def row(at: int) -> tuple[Cell, ...]:
        cells = [of.cell(name, at, column, style) for column, _, style in columns]
        return (rows[at]["trial"], rows[at]["status"], *cells)

    heads = ("trial", "status", *(head for _, head, _ in columns))
    return _table(
        "trials",
        "Single trials",
        heads,
        len(rows),
        row,
        STACKED if shared else "",
        most=MOST_TRIALS,
        texts={0, 1},
    )


def odd_trials(of: Exported) -> ReportTable:
    """Those that did not finish, and why."""
    rows = [each for each in of.rows("trials.csv") if each["status"] in ODD]

    def row(at: int) -> tuple[Cell, ...]:
        return rows[at]["trial"], rows[at]["status"], rows[at]["reason"]

    heads = ("trial", "status", "why")
    return _table("odd", "Trials that did not finish", heads, len(rows), row, texts={0, 1, 2})


def _table(
    key: str,
    title: str,
    heads: tuple[str, ...],
    count: int,
    row: Callable[[int], tuple[Cell, ...]],
    about: str = "",
    most: int = MOST_ROWS,
    texts: set[int] | frozenset[int] = frozenset({0}),
) -> ReportTable:
    """A table of `count` rows, of which `most` are shown; what is left out is told."""
    rows = tuple(row(at) for at in range(min(count, most)))
    more = f"{count - most:,} more rows are left out." if count > most else ""
    return ReportTable(key, title, heads, rows, about, frozenset(texts), more)

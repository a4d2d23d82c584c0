"""Writes the tables of docs/export.md that define metrics, from the entries of the registry.

    python docs/make_export.py

A table is between `<!-- metrics: NAME -->` and `<!-- end -->`, where NAME is a key of `TABLES`. The
text around it and the other tables are written by hand. What a metric is, and its unit, is in its
entry in `engine/metrics/epoch_registry.py`, `trial_registry.py` or `probe_registry.py`.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "export.md"
BLOCK = re.compile(r"(<!-- metrics: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

sys.path.insert(0, str(ROOT / "src"))


class Line(NamedTuple):
    """What a row says of one metric."""

    name: str
    unit: str
    definition: str


def epochs() -> Iterator[str]:
    """Yield the columns of `epochs.csv`."""
    from batchscope.engine.metrics.epoch_registry import EPOCH_METRICS

    lines = (Line(each.name, each.unit, each.definition) for each in EPOCH_METRICS)
    yield from table("| column | unit | definition |", lines)


def trials() -> Iterator[str]:
    """Yield the columns of `trials.csv`."""
    from batchscope.engine.metrics.trial_registry import TABLE_METRICS

    lines = (Line(each.name, each.unit, each.definition) for each in TABLE_METRICS)
    yield from table("| column | unit | definition |", lines)


def measures() -> Iterator[str]:
    """Yield the measures of claims that are no columns."""
    from batchscope.engine.metrics.registry import NAMED, TRIAL

    lines = (Line(name, TRIAL[name].unit, TRIAL[name].definition) for name in NAMED)
    yield from table("| measure | unit | definition |", lines)


def figures() -> Iterator[str]:
    """Yield the figures of a configuration in `findings.json`."""
    from batchscope.engine.metrics.bias_variance import ErrorDecomposition
    from batchscope.engine.metrics.registry import SUMMARY

    lines = (
        Line(
            each.name,
            each.unit,
            "as in `bias_variance.csv`"
            if each.name in ErrorDecomposition._fields
            else "as in `trials.csv`"
            if each.column
            else "as a measure of claims",
        )
        for each in SUMMARY
    )
    yield from table("| key | unit | definition |", lines, " (optional)")


def plots() -> Iterator[str]:
    """Yield the figures of the report that draw one metric over the batch size."""
    from batchscope.engine.metrics.registry import PLOTS

    yield "| figure | metric |"
    yield "| --- | --- |"
    for metric in PLOTS:
        if metric.plot:
            yield f"| `{metric.plot.name}` | `{metric.name}` |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "trials": trials,
    "epochs": epochs,
    "measures": measures,
    "figures": figures,
    "plots": plots,
}


def table(head: str, lines: Iterable[Line], mark: str = "") -> Iterator[str]:
    """Yield a table; neighbours with one unit and definition share a row.

    `mark` follows the names in each row.
    """
    yield head
    yield re.sub(r"[^|]+", " --- ", head)
    for (unit, definition), same in groupby(lines, key=lambda line: line[1:]):
        names = ", ".join(f"`{line.name}`" for line in same)
        cells = f"{names}{mark}", unit, definition
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(text: str) -> str:
    """Return the page with its tables written anew.

    Raises:
        KeyError: there is no such table.
    """

    def block(match: re.Match[str]) -> str:
        return match[1] + "\n".join(TABLES[match[2]]()) + "\n" + match[3]

    return BLOCK.sub(block, text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()

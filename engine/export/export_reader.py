"""Reads the files of an export back: every number of a report is one of theirs, with its place."""

import csv
from collections.abc import Callable
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from batchscope.engine.analysis.bias_variance import BiasVariance
from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.analysis.tables import of_cell
from batchscope.engine.analysis.tuning import TuningChoice
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.configuration_summary import ConfigurationSummary, Mean
from batchscope.engine.findings.critical_batch_size import Critical
from batchscope.engine.findings.probe_summary import CompetitionSummary, DrawSummary
from batchscope.engine.formatting import shown_size, signed, significant
from batchscope.engine.system.untrusted_files import decode_json, open_regular, read_bytes


class Number(NamedTuple):
    """A number as shown, its exact text, and its place in a file: `trials.csv#3/test_accuracy`."""

    shown: str
    exact: str
    at: str


class Range(NamedTuple):
    """A mean over `n` seeds, with its interval if it has one."""

    mean: Number
    low: Number | None = None
    high: Number | None = None
    n: Number | None = None


class Values(NamedTuple):
    """The values of single seeds, each with a mark before it: ">" where it is only a bound."""

    numbers: tuple[tuple[str, Number], ...]


Cell = str | Number | Range | Values | None


class ExportedFigures(Struct, frozen=True):
    """The key `findings` of `findings.json`."""

    configurations: tuple[ConfigurationSummary, ...] = ()
    probes: tuple[DrawSummary, ...] = ()
    competitions: tuple[CompetitionSummary, ...] = ()


class ExportedFindings(Struct, frozen=True):
    """The content of `findings.json` as the structs that it was written from."""

    claims: tuple[Verdict, ...]
    recommendation: str
    findings: ExportedFigures
    choices: tuple[TuningChoice, ...] = ()
    critical_batch_size: Critical | None = None
    noise_scale: tuple[NoiseFinding, ...] = ()
    bias_variance: tuple[BiasVariance, ...] = ()
    judging: str = ""

    def means(self, measure: str) -> dict[str, Mean]:
        """Return the means of a measure by configuration, smaller batch sizes first."""
        return {
            each.configuration: each.figures[measure]
            for each in self.findings.configurations
            if measure in each.figures
        }


LARGEST_DOCUMENT = 1 << 28
LONGEST_FIELD = 1 << 30
"""The longest field of a CSV file that is read: a reason may hold a long message."""
STYLES: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{100 * value:.2f}",
    "count": lambda value: f"{value:,.0f}",
    "bytes": shown_size,
    "level": lambda value: f"{value:g}",
    "number": significant,
    "p": lambda value: f"{value:.2g}",
}


def rounded(value: float, style: str) -> str:
    """Round a number for the report.

    Args:
        value: the number.
        style: `percent`: 100 times the value, with two decimals. `count`: a whole number. `bytes`:
            with a binary unit. `level`: as few digits as needed. `number`: three digits. `p`: two.
            `signed FACTOR`: the value times FACTOR, always with its sign. `times FACTOR`: the same
            without a plus, as many digits as needed.
    """
    if style.startswith("signed"):
        return signed(value * float(style.split()[1]))
    if style.startswith("times"):
        size = value * float(style.split()[1])
        return rounded(size, "count" if 1e4 <= abs(size) < 1e7 else "number")
    return STYLES[style](value).replace("-", "−", value < 0)


class PrimaryColumn(NamedTuple):
    """The metric by which an export is told, as the columns of tables show it.

    Attributes:
        measure: its column in `trials.csv`, such as `test_mae`.
        title: the same in words.
        unit: `%` for an accuracy, otherwise empty.
        better: `higher` or `lower`.
    """

    measure: str = "test_accuracy"
    title: str = "test accuracy"
    unit: str = "%"
    better: str = "higher"

    @property
    def is_accuracy(self) -> bool:
        """Whether it is an accuracy, which is shown in percent."""
        return self.unit == "%"

    @property
    def train_measure(self) -> str:
        """The column of the same on training data."""
        return f"train_{self.measure.partition('_')[2]}"

    @property
    def head(self) -> str:
        """The head of its column; a unit follows the last ", "."""
        return f"{self.title}, %" if self.is_accuracy else f"{self.title} ({self.better} is better)"

    @property
    def train_head(self) -> str:
        """The head of the column on training data."""
        title = f"training {self.title.partition(' ')[2]}"
        return f"{title}, %" if self.is_accuracy else title

    @property
    def style(self) -> str:
        """The style of its numbers, see `rounded`."""
        return "percent" if self.is_accuracy else "number"


class Exported:
    """The folder of an export; each file is read when it is first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tables: dict[str, list[dict[str, str]]] = {}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of `manifest.json`."""
        return self._json("manifest.json")

    @cached_property
    def findings(self) -> dict[str, Any]:
        """The content of `findings.json`."""
        return self._json("findings.json")

    @cached_property
    def document(self) -> ExportedFindings:
        """The content of `findings.json` as structs."""
        return msgspec.convert(self.findings, ExportedFindings)

    @cached_property
    def primary(self) -> PrimaryColumn:
        """The metric by which the export is told."""
        return PrimaryColumn(**self.findings.get("primary_metric", {}))

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table as text; an empty list if the table does not exist."""
        if table not in self._tables:
            path = self.folder / table
            if not path.exists():
                return []
            csv.field_size_limit(LONGEST_FIELD)
            with TextIOWrapper(open_regular(path, most=None), "utf-8", newline="") as file:
                self._tables[table] = [
                    {name: of_cell(row[name] or "") for name in row if name is not None}
                    for row in csv.DictReader(file)
                ]
        return self._tables[table]

    def cell(self, table: str, row: int, column: str, style: str = "number") -> Number | None:
        """Return a number of a table; None if the field is empty."""
        text = self.rows(table)[row].get(column) or ""
        if not text:
            return None
        return Number(rounded(float(text), style), text, f"{table}#{row}/{column}")

    def found(self, *path: str | int, style: str = "number") -> Number | None:
        """Return a number of `findings.json`; None if there is none."""
        value: Any = self.findings
        for key in path:
            value = value.get(key) if isinstance(value, dict) else value[int(key)]
            if value is None:
                return None
        at = "/".join(map(str, path))
        return Number(rounded(value, style), repr(value), f"findings.json#{at}")

    def mean(self, *path: str | int, style: str = "number") -> Range | None:
        """Return a mean of `findings.json` with its interval and number of seeds, if it has one."""
        mean = self.found(*path, "mean", style=style)
        if mean is None:
            return None
        low, high = (self.found(*path, end, style=style) for end in ("low", "high"))
        return Range(mean, low, high, self.found(*path, "n", style="count"))

    def _json(self, name: str) -> dict[str, Any]:
        return decode_json(read_bytes(self.folder / name, LARGEST_DOCUMENT), dict[str, Any])

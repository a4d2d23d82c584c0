"""The files of an export, read back: every number of a report is one of theirs, with its place."""

import csv
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from batchscope.engine.analysis.bias_variance import BiasVariance
from batchscope.engine.analysis.noise_scales import NoiseFinding
from batchscope.engine.analysis.tuning import TuningChoice
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.configuration_summary import ConfigurationSummary, Mean
from batchscope.engine.findings.critical_batch_size import Critical
from batchscope.engine.findings.probe_summary import CompetitionSummary, DrawSummary
from batchscope.engine.formatting import shown_size, signed, significant


class Number(NamedTuple):
    """A number as it is shown, as the file has it, and where: `trials.csv#3/test_accuracy`."""

    shown: str
    exact: str
    at: str


class Range(NamedTuple):
    """A mean with the interval around it, where there is one, over `n` seeds."""

    mean: Number
    low: Number | None = None
    high: Number | None = None
    n: Number | None = None


Cell = str | Number | Range | None


class ExportedFigures(Struct, frozen=True):
    """The figures in `findings.json`."""

    configurations: tuple[ConfigurationSummary, ...] = ()
    probes: tuple[DrawSummary, ...] = ()
    competitions: tuple[CompetitionSummary, ...] = ()


class ExportedFindings(Struct, frozen=True):
    """`findings.json` as what it was made of."""

    claims: tuple[Verdict, ...]
    recommendation: str
    findings: ExportedFigures
    choices: tuple[TuningChoice, ...] = ()
    critical_batch_size: Critical | None = None
    noise_scale: tuple[NoiseFinding, ...] = ()
    bias_variance: tuple[BiasVariance, ...] = ()

    def means(self, measure: str) -> dict[str, Mean]:
        """A measure of each configuration that has it, smaller batch sizes first."""
        return {
            each.configuration: each.figures[measure]
            for each in self.findings.configurations
            if measure in each.figures
        }


LONGEST_FIELD = 1 << 30
"""A reason may be as long as what a library says."""
STYLES: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{100 * value:.2f}",
    "count": lambda value: f"{value:,.0f}",
    "bytes": shown_size,
    "level": lambda value: f"{value:g}",
    "number": significant,
}


def rounded(value: float, style: str) -> str:
    """The one rule by which numbers are rounded.

    `percent`: two decimals of 100 times the value. `count`: whole. `bytes`: with a binary unit.
    `level`: as it is. `number`: three digits. `signed FACTOR` is a difference in a unit so many
    times smaller, always with its sign. A minus is as wide as a plus.
    """
    if style.startswith("signed"):
        return signed(value * float(style.split()[1]))
    return STYLES[style](value).replace("-", "−", value < 0)


class Exported:
    """The folder of an export, with the files that are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tables: dict[str, list[dict[str, str]]] = {}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """`manifest.json`."""
        return self._json("manifest.json")

    @cached_property
    def findings(self) -> dict[str, Any]:
        """`findings.json`."""
        return self._json("findings.json")

    @cached_property
    def told(self) -> ExportedFindings:
        """`findings.json` as what it was made of."""
        return msgspec.convert(self.findings, ExportedFindings)

    def rows(self, table: str) -> list[dict[str, str]]:
        """The rows of a table as text; none where there is no such table."""
        if table not in self._tables:
            path = self.folder / table
            if not path.exists():
                return []
            csv.field_size_limit(LONGEST_FIELD)
            with open(path, encoding="utf-8", newline="") as file:
                self._tables[table] = list(csv.DictReader(file))
        return self._tables[table]

    def cell(self, table: str, row: int, column: str, style: str = "number") -> Number | None:
        """A number of a table; None where the table has none."""
        text = self.rows(table)[row].get(column) or ""
        if not text:
            return None
        return Number(rounded(float(text), style), text, f"{table}#{row}/{column}")

    def found(self, *path: str | int, style: str = "number") -> Number | None:
        """A number of `findings.json`; None where there is none."""
        value: Any = self.findings
        for key in path:
            value = value.get(key) if isinstance(value, dict) else value[int(key)]
            if value is None:
                return None
        at = "/".join(map(str, path))
        return Number(rounded(value, style), repr(value), f"findings.json#{at}")

    def mean(self, *path: str | int, style: str = "number") -> Range | None:
        """A mean of `findings.json` with its interval and its seeds; None where there is none."""
        mean = self.found(*path, "mean", style=style)
        if mean is None:
            return None
        low, high = (self.found(*path, end, style=style) for end in ("low", "high"))
        return Range(mean, low, high, self.found(*path, "n", style="count"))

    def _json(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return document

"""Draws the figures and the page of an export, into its folder.

Run as `python -P -m batchscope.engine.export.report.render FOLDER [PARENT]` in a process of its
own (see `engine.export.report_process`). It reads nothing but the files in the folder, so the same
files give the same bytes.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from batchscope.engine.errors import printable
from batchscope.engine.export import plot_style
from batchscope.engine.export.export_reader import Exported, ExportedFindings
from batchscope.engine.export.figures.all_figures import pictures
from batchscope.engine.export.report.content import Report, report_of
from batchscope.engine.export.report_process import FIGURES, REPORT
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.stored_journal import load_state
from batchscope.engine.system.parent_death import end_with

STYLE = "batchscope"


class Shown(NamedTuple):
    """A figure as the page shows it."""

    name: str
    caption: str
    svg: Markup


def render(folder: Path) -> None:
    """Write `figures/` and `report.html` into the folder of an export."""
    exported = Exported(folder)
    state = load_state(folder, str(exported.manifest.get("sweep", "")))
    report = report_of(exported, state)
    figures = draw(state, exported.document, folder / FIGURES)
    (folder / REPORT).write_text(page(report, figures), encoding="utf-8")


def draw(state: SweepState, document: ExportedFindings, folder: Path) -> list[Shown]:
    """Write every figure as SVG and PNG into a folder, and return them for the page."""
    figures: list[Shown] = []
    with plot_style.styled(STYLE):
        for picture in pictures(state, document):
            folder.mkdir(exist_ok=True)
            svg = plot_style.svg_of(picture.figure, f"{picture.title}. {picture.caption}")
            (folder / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
            (folder / f"{picture.name}.png").write_bytes(plot_style.png_of(picture.figure))
            inline = Markup(plot_style.inline(svg, picture.name))
            figures.append(Shown(picture.name, picture.caption, inline))
    return figures


def page(report: Report, figures: list[Shown]) -> str:
    """Return the page as HTML; text that people wrote is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    return environment.get_template("page.html").render(report=report, figures=figures) + "\n"


def _safe(value: object) -> object:
    """Remove control characters from text; markup that this program made is left unchanged."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]))
    render(Path(sys.argv[1]))

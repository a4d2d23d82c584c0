"""Draws the figures and the page of an export, into its folder.

Run as `python -P -m engine.export.rendering FOLDER [PARENT]`, in a process of its own: see
`artist`. It needs nothing but the files that are there, so the same files give the same bytes.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from engine import journal
from engine.export import drawing
from engine.export.artist import FIGURES, REPORT
from engine.export.exported import Exported, Told
from engine.export.figures import pictures
from engine.export.report import Report, report_of
from engine.orphans import end_with
from engine.problems import printable
from engine.state import SweepState

STYLE = "batchscope"


class Shown(NamedTuple):
    """A figure as the page has it."""

    name: str
    caption: str
    svg: Markup


def render(folder: Path) -> None:
    """Write `figures/` and `report.html` beside the tables and the journal in a folder."""
    state = SweepState().fold(journal.Reader(folder / journal.NAME).read_all())
    exported = Exported(folder)
    report = report_of(exported, state)
    figures = draw(state, exported.told, folder / FIGURES)
    (folder / REPORT).write_text(page(report, figures), encoding="utf-8")


def draw(state: SweepState, told: Told, folder: Path) -> list[Shown]:
    """Every figure as SVG and PNG into a folder of its own; as the page is to show them."""
    found: list[Shown] = []
    with drawing.styled(STYLE):
        for picture in pictures(state, told):
            folder.mkdir(exist_ok=True)
            svg = drawing.svg_of(picture.figure, f"{picture.title}. {picture.caption}")
            (folder / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
            (folder / f"{picture.name}.png").write_bytes(drawing.png_of(picture.figure))
            inline = Markup(drawing.inline(svg, picture.name))
            found.append(Shown(picture.name, picture.caption, inline))
    return found


def page(report: Report, figures: list[Shown]) -> str:
    """The page; whatever people wrote is text in it."""
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
    """Text without control characters; markup of ours is left as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]))
    render(Path(sys.argv[1]))

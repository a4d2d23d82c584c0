"""Texts that a spreadsheet would run as formulas are marked in every table, and read back."""

import csv
from pathlib import Path

import msgspec
import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from batchscope.engine.analysis.tables import Row, as_cell, of_cell, to_csv
from batchscope.engine.export.export_reader import Exported
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.store import SWEEP
from batchscope.tui.panes.base import _copied_cell
from tests.functional.board_fixtures import Recipe, configurations
from tests.functional.lab import Lab

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "＝1+1",
    "-",
    '="a",2',
)
PLAIN = ("", "a", "a=1", "1", "-1", "+1.5", "-2e-05", "-inf", "'", "'a", " =1", "lr=0.1")
PRESET = {
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 20},
    "grid": {"batch_size": [8]},
}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert as_cell(text) == text


@given(st.text() | st.sampled_from(STARTS).flatmap(lambda start: st.text().map(start.__add__)))
@example("''''=1")
@example("'-5")
@example("-5")
@example("-\t5")
def test_every_text_reads_back(text: str) -> None:
    assert of_cell(as_cell(text)) == text
    assert as_cell(text)[:1] not in STARTS or float(text) is not None


def test_numbers_of_a_table_stay_as_they_are() -> None:
    rows: list[Row] = [{"a": -0.5, "b": -3, "c": "-3 C", "d": True, "e": None, "f": float("-inf")}]
    assert to_csv(tuple("abcdef"), rows) == "a,b,c,d,e,f\n-0.5,-3,'-3 C,true,,-inf\n"


def test_copied_cells_are_marked_too() -> None:
    cells = ["=cmd", "+x", "-x", "@x", "\t=x", -1.5, -2, None, "−1"]
    shown = ["'=cmd", "'+x", "'-x", "'@x", "�=x", "-1.5", "-2", "", "−1"]
    assert [_copied_cell(cell) for cell in cells] == shown


def test_no_table_of_an_export_has_a_formula(lab: Lab, tmp_path: Path) -> None:
    """Labels, reasons and names are a person's or a library's; the report has them as they are."""
    recipe = Recipe(lab.home)
    (recipe.folder / SWEEP).write_text(tomli_w.dumps(PRESET))
    (plain,) = configurations((8,), seeds=len(FORMULAS))
    chosen = (msgspec.structs.replace(plain, id="=b", label='=HYPERLINK("x")'),)
    recipe.open(chosen)
    recipe.ready(chosen)
    for trial, text in zip(trials_of(chosen[0]), FORMULAS, strict=True):
        recipe.start(trial)
        recipe.end(trial, "failed", text)
    recipe.close("failed", len(FORMULAS), 0)
    out = tmp_path / "out"
    assert lab.run("--export", str(out), "--sweep", "2027").code == 0
    found = []
    for path in sorted(out.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                found += row
    assert [cell for cell in found if cell[:1] in STARTS and not _is_float(cell)] == []
    assert '\'=HYPERLINK("x")' in found
    rows = Exported(out).rows("trials.csv")
    assert [row["reason"] for row in rows] == list(FORMULAS)
    assert {row["label"] for row in rows} == {'=HYPERLINK("x")'}
    assert [row["trial"] for row in rows] == [trial.id for trial in trials_of(chosen[0])]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

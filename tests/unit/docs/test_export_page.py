"""The tables of metrics in `docs/export.md`: written from the registry."""

import make_export
import pytest

from batchscope.engine.metrics.registry import EPOCH_COLUMNS, TRIAL_COLUMNS
from tests.dictionary import dictionary

TEXT = make_export.PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_script_writes() -> None:
    assert make_export.page(TEXT) == TEXT, "run docs/make_export.py"


@pytest.mark.parametrize("name", make_export.TABLES)
def test_every_table_is_there_once(name: str) -> None:
    assert TEXT.count(f"<!-- metrics: {name} -->") == 1


def test_the_dictionary_has_the_columns_in_their_order() -> None:
    columns = dictionary(TEXT).columns
    assert tuple(columns["trials.csv"]) == TRIAL_COLUMNS
    assert tuple(columns["epochs.csv"]) == EPOCH_COLUMNS


def test_metrics_with_one_definition_share_a_row() -> None:
    lines = [
        make_export.Line("a", "L2", "|G|"),
        make_export.Line("b", "count", "|G|"),
        make_export.Line("c", "L2", "other"),
        make_export.Line("d", "L2", "other"),
    ]
    assert list(make_export.table("| key | unit |", lines, " (optional)"))[2:] == [
        "| `a` (optional) | L2 | \\|G\\| |",
        "| `b` (optional) | count | \\|G\\| |",
        "| `c`, `d` (optional) | L2 | other |",
    ]

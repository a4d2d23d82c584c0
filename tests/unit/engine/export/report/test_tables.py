"""The table of noise scales in a report shows intervals, or why there is none."""

import json
from pathlib import Path
from typing import Any

from batchscope.engine.export.export_reader import Cell, Exported, Number
from batchscope.engine.export.report.tables import tables

PLAIN: dict[str, Any] = {
    "configuration": "b8", "label": "8", "batch_size": 8, "value": 117.0, "low": 60.4,
    "high": 800.2, "trace": 1.0, "signal": 1.0, "draws": 30, "n": 3, "reason": "",
    "sgd_noise_scale": None,
}  # fmt: skip


def row(folder: Path, **changed: object) -> tuple[Cell, ...]:
    told = {"findings": {"configurations": []}, "noise_scale": [{**PLAIN, **changed}]}
    (folder / "findings.json").write_text(json.dumps(told))
    (found,) = (table for table in tables(Exported(folder)) if table.key == "noise")
    assert len(found.heads) == len(found.rows[0])
    return found.rows[0]


def shown(cell: Cell) -> str | None:
    return cell.shown if isinstance(cell, Number) else cell  # type: ignore[return-value]


def test_an_interval_is_shown(tmp_path: Path) -> None:
    assert [shown(cell) for cell in row(tmp_path)] == [
        "8",
        "117",
        "60",
        "800",
        "30",
        None,
        "99",
        "",
    ]


def test_no_noise_scale_is_shown_below_0(tmp_path: Path) -> None:
    assert shown(row(tmp_path, low=-47.7)[2]) == "0"


def test_a_missing_interval_has_its_reason(tmp_path: Path) -> None:
    found = row(tmp_path, low=None, high=None)
    assert found[2] is found[3] is None
    assert "|G|²" in str(found[7])
    alone = row(tmp_path, low=None, high=None, n=1)
    assert "one seed" in str(alone[7])
    unknown = row(tmp_path, value=None, low=None, high=None, reason="more draws are needed")
    assert unknown[7] == "more draws are needed"

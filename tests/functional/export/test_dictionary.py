"""The data dictionary in `docs/export.md`: complete, with units, and true to the code."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from batchscope.engine.findings.configuration_summary import MEASURES, TIMES
from batchscope.engine.metrics.registry import NAMED
from tests.dictionary import ASKED, OPTIONAL, PAGE, WHERE, check_export, dictionary, optional
from tests.functional.lab import recorded


def test_what_is_not_always_there_is_said_to_depend_on_something() -> None:
    page = dictionary()
    assert {name for name, said in page.files.items() if "only where" in said} == set(WHERE)
    said = {
        name: any(flag in said for flag in ("--no-report", "--tensorboard", "--weights"))
        for name, said in page.files.items()
    }
    assert {name for name, depends in said.items() if depends} == set(ASKED)
    maps = "findings.configurations[].figures", "findings.configurations[].ratios"
    keys = page.keys["findings.json"]
    in_maps = {f"{path}.{name}" for path in maps for name in keys[path]}
    assert optional(keys) == in_maps | set(OPTIONAL)
    assert optional(page.keys["manifest.json"]) == {"weights", "without_weights"}
    figures, ratios = (keys[path] for path in maps)
    assert set(figures) == set(MEASURES)
    assert set(ratios) == set(TIMES)


def test_every_table_and_document_is_in_the_list_of_files() -> None:
    page = dictionary()
    assert {*page.columns, *page.keys} == {
        name for name in page.files if Path(name).suffix in (".csv", ".json")
    }


def test_every_measure_of_a_claim_is_defined() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = (
        text[text.index("| measure | unit | definition |") :]
        .split("\n<!-- end")[0]
        .splitlines()[2:]
    )
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == set(NAMED)


def test_every_key_of_the_summary_is_defined() -> None:
    text = PAGE.with_name("headless.md").read_text(encoding="utf-8")
    keys = dictionary(text[text.index("## `--json`") :]).keys["--json"]
    told = json.loads(recorded().outcome.out)
    assert told.keys() == keys[""].keys()
    assert {frozenset(row) for row in told["configurations"]} == {
        frozenset(keys["configurations[]"])
    }


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("trials.csv", "trial,status", "status,trial"),
        ("trials.csv", "trial,", "trial,more,"),
        ("memory.csv", "device,", ""),
        ("findings.json", '"verdict"', '"word"'),
        ("findings.json", '"claims"', '"assertions"'),
        ("manifest.json", '"cores"', '"kernels"'),
        ("extra.csv", "", "trial\n"),
    ],
)
def test_an_export_that_is_not_as_defined_is_seen(
    tmp_path: Path, file: str, before: str, after: str
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(recorded().export, folder)
    check_export(folder)
    path = folder / file
    old = path.read_text() if path.exists() else ""
    path.write_text(old.replace(before, after, 1) if before else after)
    with pytest.raises(AssertionError):
        check_export(folder)


@pytest.mark.skipif(find_spec("pandas") is None, reason="pandas is not installed")
def test_three_lines_of_pandas_load_an_export(capsys: pytest.CaptureFixture[str]) -> None:
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(code.replace('"out/', f'"{recorded().export}/'), {})
    assert "512" in capsys.readouterr().out

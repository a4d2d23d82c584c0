"""`batchscope compare` compares real exports and stored sweeps, and refuses anything else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.dictionary import PAGE, dictionary, differences
from tests.functional.lab import Lab, Outcome, recorded, sets

ADAM = sets(
    *("seeds=2", "train.epochs=1", "grid.batch_size=[64, 128]", "train.optimizer=adam"),
    *("train.lr=0.01", "run.stack=never"),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exports of two sweeps and a home that stores only the second."""
    root = tmp_path_factory.mktemp("compare")
    lab = Lab(root)
    try:
        outcome = lab.run("--export", "adam", "--preset", "quickstart", *ADAM)
        assert outcome.code == 0, outcome.err
    finally:
        lab.close()
    shutil.copytree(recorded().export, lab.cwd / "sgd")
    return root


def compare(root: Path, *words: str, **environment: str) -> Outcome:
    lab = Lab(root)
    return lab.run("compare", *words, **environment)


def object_of(outcome: Outcome) -> dict[str, Any]:
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_an_export_and_a_stored_sweep_are_read_alike(pair: Path) -> None:
    (stored,) = (pair / "home" / "sweeps").iterdir()
    exports = object_of(compare(pair, "sgd", "adam", "--json"))
    mixed = object_of(compare(pair, "./sgd", stored.name, "--json"))
    by_path = object_of(compare(pair, "./sgd", str(stored), "--json"))
    for found in (exports, mixed, by_path):
        found["a"].pop("written")
        assert found["b"].pop("written") in ("adam", stored.name, str(stored))
    assert exports == mixed == by_path
    page = dictionary(PAGE.with_name("compare.md").read_text(encoding="utf-8"))
    told = object_of(compare(pair, "sgd", "adam", "--json"))
    assert dict(differences(told, "", page.keys["compare --json"])) == {}
    (row,) = exports["rows"]
    trials = {
        name: [
            line.split(",")
            for line in (pair / "cwd" / name / "trials.csv").read_text().splitlines()
        ]
        for name in ("sgd", "adam")
    }
    of = {
        name: [float(line[rows[0].index("test_accuracy")]) for line in rows if line[2] == "64"]
        for name, rows in trials.items()
    }
    assert row["test_accuracy"]["a"]["mean"] == pytest.approx(sum(of["sgd"]) / 2)
    assert row["test_accuracy"]["b"]["mean"] == pytest.approx(sum(of["adam"]) / 2)
    assert row["test_accuracy"]["method"] == "paired t"
    assert (row["batch_size"], exports["only_a"], exports["only_b"]) == (64, ["512"], ["128"])
    changed = {each["key"]: (each["a"], each["b"]) for each in exports["settings"]}
    assert changed["train.optimizer"] == ("sgd", "adam")
    assert changed["train.epochs"] == (2, 1)
    assert exports["versions"] == []


def test_the_table_fits_eighty_columns_in_ascii_too(pair: Path) -> None:
    outcome = compare(pair, "sgd", "adam")
    assert outcome.code == 0, outcome.err
    shown = outcome.out.splitlines()
    assert shown[0].endswith("(sgd): finished, 4 trials")
    assert re.search(r"^train\.optimizer +sgd +adam$", outcome.out, re.MULTILINE)
    assert any(line.startswith("64 ") and "●" in line and "[" in line for line in shown)
    assert "only in A: 512" in outcome.out
    assert all(len(line) <= 80 for line in shown)
    plain = compare(pair, "sgd", "adam", "--ascii").out
    assert plain.isascii()
    assert [len(line) for line in plain.splitlines()] == [len(line) for line in shown]


def test_a_wide_terminal_has_room_for_longer_lines(pair: Path) -> None:
    narrow, wide = (compare(pair, "sgd", "adam", COLUMNS=str(c)).out for c in (80, 120))
    assert max(map(len, narrow.splitlines())) <= 80 < max(map(len, wide.splitlines())) <= 120


def test_the_figure_is_the_same_bytes_each_time(pair: Path) -> None:
    drawn = {}
    for name in ("one.svg", "two.svg", "one.png"):
        outcome = compare(pair, "sgd", "adam", "--figure", name)
        assert outcome.code == 0, outcome.err
        assert outcome.out.endswith(f" {name}\n")
        drawn[name] = (pair / "cwd" / name).read_bytes()
    assert drawn["one.svg"] == drawn["two.svg"]
    assert drawn["one.svg"].startswith(b"<svg")
    assert drawn["one.png"].startswith(b"\x89PNG")
    assert not [path for path in (pair / "cwd").iterdir() if path.name.startswith(".")]


def manifest(folder: Path, **changed: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.fixture
def spoilt(pair: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(pair / "cwd" / "adam", tmp_path / "cwd" / "out")
    return tmp_path / "cwd" / "out"


def refused(spoilt: Path, *words: str) -> str:
    outcome = Lab(spoilt.parent.parent).run("compare", *words)
    assert outcome.code == 2
    return outcome.message


def test_a_manifest_that_is_none_or_too_new(spoilt: Path) -> None:
    other = str(recorded().export)
    at = "out/manifest.json: "
    manifest(spoilt, format=9)
    assert refused(spoilt, "out", other).startswith(f"{at}format 9 ")
    manifest(spoilt, program="another")
    assert refused(spoilt, "out", other).startswith(f"{at}is not from ")
    (spoilt / "manifest.json").write_text("{")
    message = refused(spoilt, "out", other)
    assert message.startswith(at)
    assert "JSON" in message
    (spoilt / "manifest.json").write_text('{"program": "batchscope"}')
    message = refused(spoilt, "out", other)
    assert message.startswith(f"{at}is damaged: ")
    assert "format, sweep or state" in message
    (spoilt / "manifest.json").unlink()
    assert refused(spoilt, "./out", other).endswith("no manifest.json")


def test_a_journal_that_is_gone_or_too_new(spoilt: Path) -> None:
    other, path = str(recorded().export), spoilt / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text('{"kind":"journal","version":7,"program":"9.0"}\n' + "".join(lines[1:]))
    message = refused(spoilt, "out", other)
    assert "journal.jsonl: version 7 " in message
    assert "(9.0)" in message
    path.write_text(lines[0])
    assert "journal.jsonl: has no sweep" in refused(spoilt, "out", other)
    path.unlink()
    assert "journal.jsonl: does not exist" in refused(spoilt, other, "out")


def test_a_damaged_line_is_skipped_with_a_warning(spoilt: Path) -> None:
    path = spoilt / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"kind":"memory"', b'"kind":"mem\xff"', 1))
    outcome = Lab(spoilt.parent.parent).run("compare", str(recorded().export), "out")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^! .*1 damaged line of B's journal", outcome.out, re.MULTILINE)


def test_an_unfinished_sweep_is_marked(spoilt: Path) -> None:
    path = spoilt / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if '"kind":"ended"' in line)
    path.write_text("".join(lines[:last]))
    manifest(spoilt, state="running")
    outcome = Lab(spoilt.parent.parent).run("compare", str(recorded().export), "out")
    assert outcome.code == 0, outcome.err
    assert "(out): running, 4 trials (1 " in outcome.out
    assert "! B is unfinished: 1 of 4 trials " in outcome.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sgd", "sgd"), "compare: both "),
        (("sgd", "adan"), "no export of that name"),
        (("sgd", "/dev/null"), "/dev/null: is a file"),
        (("sgd", "no/where"), "no/where: no such folder"),
        (("sgd", ""), "got an empty"),
        (("sgd",), "the following arguments are required: B"),
        (("sgd", "adam", "--figure", "x.pdf"), "--figure x.pdf: "),
        (("sgd", "adam", "--figure", "no/x.svg"), "--figure no/x.svg: "),
        (("sgd", "adam", "--figur", "x.svg"), "unknown option --figur; did you mean '--figure'?"),
    ],
)
def test_what_is_refused(pair: Path, words: tuple[str, ...], told: str) -> None:
    outcome = compare(pair, *words)
    assert outcome.code == 2
    assert told in outcome.message


def test_two_exports_need_no_home(pair: Path, tmp_path: Path) -> None:
    home = tmp_path / "none"
    assert compare(pair, "sgd", "adam", "--home", str(home)).code == 0
    assert not home.exists()

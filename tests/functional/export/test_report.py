"""The report of an export: its content, its numbers from the tables, and the same bytes again."""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.errors import printable
from batchscope.engine.export.bundle import write_export
from batchscope.engine.export.export_reader import Exported
from batchscope.engine.export.figures.common import cast_of
from batchscope.engine.export.report import render
from batchscope.engine.export.report.content import report_of
from batchscope.engine.journal import file as journal
from batchscope.engine.spec import trials_of
from tests.functional.board_fixtures import (
    CLAIMS,
    Recipe,
    configurations,
    probed_sweep,
    running_sweep,
    stacked_sweep,
    wide_sweep,
)
from tests.functional.export.export_folder import content, neighbours
from tests.functional.lab import Lab, Outcome, copy_of_recorded, recorded
from tests.functional.report_pages import Page, check_numbers

HOSTILE = '<script>alert("x")</script> & \' $x_{1}$ \x1b[31m \u202e ]]> {{ 7*7 }} --> 名'
FIRST_LINES = 1500


@pytest.fixture
def with_reports(tmp_path: Path) -> Lab:
    lab = copy_of_recorded(tmp_path / "lab")
    lab.reports = True
    return lab


def export(lab: Lab, target: Path, **environment: str) -> Outcome:
    words = ("--export", str(target), "--sweep", lab.only_folder().name)
    return lab.run(*words, **environment)


def drawn(folder: Path) -> tuple[Path, Page]:
    """A sweep of a recipe, exported and drawn in this process."""
    (folder / "sweep.toml").write_text('title = "as it was run"\n')
    target = folder.parent / "out"
    write_export(folder, target, report=False)
    render.render(target)
    return target, Page((target / "report.html").read_text())


# ---- a real sweep


def test_the_same_sweep_gives_the_same_bytes_whatever_is_set_for_other_plots(
    with_reports: Lab, tmp_path: Path
) -> None:
    one, other = tmp_path / "one" / "out", tmp_path / "other" / "out"
    outcome = export(with_reports, one)
    assert (outcome.code, outcome.err) == (0, "")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "matplotlibrc").write_text("font.size: 40\nsvg.fonttype: path\nnonsense\n")
    set_for_others = {"MPLCONFIGDIR": str(theirs), "MPLBACKEND": "nonsense", "LC_ALL": "C"}
    outcome = export(with_reports, other, TZ="Asia/Tokyo", PYTHONHASHSEED="7", **set_for_others)
    assert (outcome.code, outcome.err) == (0, "")
    assert content(one) == content(other)
    names = {name for name in content(one) if name.startswith("figures/")}
    assert {"figures/test_accuracy.svg", "figures/test_accuracy.png"} < names
    page = Page((one / "report.html").read_text())
    check_numbers(one, page)
    check_answer(one, page)
    check_nothing_is_fetched(one)


def check_answer(folder: Path, page: Page) -> None:
    """Question first, then every verdict and the recommendation."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = json.loads((folder / "findings.json").read_text())
    assert page.headings[0] == ("h1", manifest["question"])
    first = page.text[: page.text.index("Claims")]
    assert len(first) < FIRST_LINES
    for claim in found["claims"]:
        assert f"{claim['statement']}: {claim['verdict']}" in first
        assert claim["reason"] in first
        assert claim["caution"] in first
        for key in ("effect", "low", "high"):
            at = f"findings.json#claims/{found['claims'].index(claim)}/{key}"
            assert at in {place for place, _, _ in page.numbers}
    assert found["recommendation"] in first
    assert "Unfinished" not in page.text
    data = manifest["data"]["digits"]["digest"]
    for told in (data, manifest["versions"]["torch"], "--preset ./sweep.toml", manifest["sweep"]):
        assert told in page.text


def check_nothing_is_fetched(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    assert not re.findall(r"https?:|src=|@import|<script|\bon\w+=", html)
    assert {each for each in re.findall(r'href="([^"]*)', html) if each[0] != "#"} == {"data:,"}
    assert not re.findall(r"url\((?!#)", html)
    page = Page(html)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    names = {path.stem for path in (folder / "figures").glob("*.svg")}
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == len(names) == page.tags.count("figcaption")
    assert all(labels)
    for path in (folder / "figures").iterdir():
        assert path.stat().st_size > 1000


def test_where_nothing_can_be_drawn_the_old_export_stays(with_reports: Lab, tmp_path: Path) -> None:
    target, broken = tmp_path / "place" / "out", tmp_path / "broken"
    with_reports.reports = False
    assert export(with_reports, target).code == 0
    before = content(target)
    with_reports.reports = True
    broken.mkdir()
    (broken / "matplotlib.py").write_text("raise ImportError('it is broken\\x1b[2J')\n")
    outcome = export(with_reports, target, PYTHONPATH=str(broken))
    assert outcome.code == 3
    assert "ImportError: it is broken�[2J; " in outcome.message
    assert "`--no-report`" in outcome.message
    assert content(target) == before
    assert neighbours(target) == ["out"]


def test_no_report_leaves_tables_findings_and_journal(tmp_path: Path) -> None:
    lab = recorded().lab
    outcome = lab.run("--export", str(tmp_path / "out"), "--sweep", recorded().folder.name)
    assert outcome.code == 0, "the lab adds --no-report by itself"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"trials.csv", "findings.json", "journal.jsonl"} < names
    assert names.isdisjoint({"report.html", "figures"})


# ---- what else may be there


def hostile_sweep(home: Path) -> Path:
    """A sweep with hostile text in every field that people or libraries write; one trial failed."""
    recipe = Recipe(home)
    chosen = tuple(replace(each, label=HOSTILE + each.id) for each in configurations())
    recipe.claims = tuple(replace(claim, statement=HOSTILE) for claim in CLAIMS[:2])
    recipe.open(chosen, title=HOSTILE, question=HOSTILE)
    recipe.ready(chosen)
    trials = [trial for configuration in chosen for trial in trials_of(configuration)]
    for trial in trials[:-1]:
        recipe.whole(trial)
    recipe.start(trials[-1])
    recipe.end(trials[-1], "failed", HOSTILE)
    recipe.close("finished", len(trials), len(trials) - 1, HOSTILE)
    return recipe.folder


def test_whatever_people_write_is_text(tmp_path: Path) -> None:
    folder, page = drawn(hostile_sweep(tmp_path))
    assert page.headings[0] == ("h1", printable(HOSTILE))
    assert page.text.count(printable(HOSTILE)) > 10
    assert "script" not in page.tags
    assert "49" not in page.text[:200]
    html = (folder / "report.html").read_text()
    assert "\x1b" not in html
    assert "\u202e" not in html
    check_nothing_is_fetched(folder)
    check_numbers(folder, page)
    assert "Unfinished: 11 of 12 trials finished; 1 failed" in page.text
    assert ("h3", "Trials that did not finish") in page.headings


def test_an_unfinished_sweep_says_so_before_all_else(tmp_path: Path) -> None:
    sweep = running_sweep(tmp_path)
    with open(sweep / journal.NAME, "ab") as file:
        file.write(b"what nobody can read\n")
    _, page = drawn(sweep)
    assert "1 line of the journal could not be read" in page.text
    alarm = "Unfinished: 5 of 12 trials finished; 1 failed; the sweep was interrupted."
    assert page.text.index(alarm) < page.text.index("So far, all 3 claims are undetermined")
    assert "RuntimeError: out of memory while trying to allocate 2.00 GiB" in page.text
    assert f"batchscope resume {sweep.name}" in page.text


def test_times_that_are_shared_are_marked(tmp_path: Path) -> None:
    _, page = drawn(stacked_sweep(tmp_path, {8: 3}))
    assert "8 ×3" in page.text
    assert "×3: 3 replicates trained as one stack" in page.text


def test_what_a_probe_drew_has_figures_and_tables(tmp_path: Path) -> None:
    folder, page = drawn(probed_sweep(tmp_path))
    assert (folder / "figures" / "probe_norm_mean.svg").exists()
    assert (folder / "figures" / "competition_cosine.png").exists()
    assert ("h3", "Gradients at frozen weights") in page.headings
    check_numbers(folder, page)


def test_of_many_trials_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    sweep = wide_sweep(tmp_path, 340)
    (sweep / "sweep.toml").write_text('title = "as it was run"\n')
    folder = tmp_path / "out"
    state = write_export(sweep, folder, report=False)
    exported = Exported(folder)
    html = render.page(report_of(exported, state), [])
    page = Page(html)
    assert "40 more rows " in page.text, "300 of 340 trials"
    assert "280 more rows " in page.text, "60 of 340 configurations"
    assert len(html) < 2_000_000
    cast = cast_of(state, exported.document)
    assert (len(cast.names), cast.names[0], cast.names[-1]) == (24, "b1", "b340")
    assert cast.note == " 316 more configurations not drawn."
    check_numbers(folder, page)


@pytest.mark.parametrize("begun", [False, True])
def test_a_sweep_without_a_figure_still_has_a_report(tmp_path: Path, begun: bool) -> None:
    recipe, chosen = Recipe(tmp_path), configurations()
    recipe.open(chosen)
    if begun:
        recipe.ready(chosen)
        for trial in (trial for each in chosen for trial in trials_of(each)):
            recipe.start(trial)
            recipe.end(trial, "diverged", "the loss is not finite")
    folder, page = drawn(recipe.folder)
    assert not (folder / "figures").exists()
    assert "figure" not in page.tags
    assert ("the loss is not finite" in page.text) == begun
    assert "undetermined" in page.text

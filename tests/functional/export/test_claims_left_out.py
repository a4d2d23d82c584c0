"""A claim that `--set` leaves nothing to compare is named in the log, journal and report."""

from pathlib import Path

from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import SweepOpened
from tests.functional.lab import Lab
from tests.functional.report_pages import Page
from tests.unit.engine.left_out_preset import PRESET

TOLD = "claim left out, with nothing to compare: 'Larger is worse'"


def test_a_claim_that_is_left_out_is_named_wherever_its_verdict_would_be(lab: Lab) -> None:
    lab.reports = True
    (lab.cwd / "two.toml").write_text(PRESET)
    words = ("--set", "grid.batch_size=[64]", "--set", "run.stack=never")
    outcome = lab.run("--export", "out", "--preset", "two.toml", *words)
    assert outcome.code == 0, outcome.err
    assert f"warning: {TOLD}" in outcome.err
    events = journal.Reader(lab.only_folder() / journal.NAME).read_all()
    assert [each.notes for each in events if isinstance(each, SweepOpened)] == [(TOLD,)]
    text = Page(Path(lab.cwd / "out" / "report.html").read_text(encoding="utf-8")).text
    first, _, _ = text.partition("Figures")
    assert "1 claim of the preset is left out" in first
    assert TOLD in text

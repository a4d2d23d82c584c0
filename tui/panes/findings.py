"""The pane of findings: each claim with its verdict and effect, and the recommendation."""

from collections.abc import Iterable, Sequence

from batchscope.engine.findings.claim_text import idle_sentence
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import EMPTY, Row, row, width_of, wrap
from batchscope.tui.viewmodel.status_signs import (
    MARKS,
    choice_text,
    effect_text,
    remarks,
    sign_of,
    word_of,
)

INDENT = 2
CAPTION_WHOLE = 56


class FindingsPane(Pane):
    """The claims: supported, contradicted or undetermined, with intervals; the recommendation."""

    NAME, TITLE = "findings", "findings"
    TOPICS = ("findings", "trials", "data")

    def caption(self, width: int) -> Row:
        """Return what the brackets are."""
        if not self.view.findings.claims:
            return EMPTY
        over = " over the seeds" if width >= CAPTION_WHOLE else ""
        return row((f"95 % intervals{over}", "dim"))

    def table(self) -> Iterable[Line]:
        """Return each claim with its verdict, then the recommendation."""
        findings = self.view.findings
        yield (
            "claim",
            "verdict",
            "measure",
            "effect",
            "low (95 %)",
            "high (95 %)",
            "seeds",
            "reason",
        )
        for each in findings.claims:
            interval = each.effect, each.low, each.high
            yield each.statement, each.verdict, each.measure, *interval, each.n, each.reason
        if findings.recommendation:
            yield (findings.recommendation,)
        for choice in findings.choices:
            yield (choice_text(choice),)

    def wanted_rows(self) -> int:
        """Count the rows at the present width."""
        width = max(1, self._inner()[0])
        return len(self._lines(width)) if self.view.state.trials else 1

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the claims, then the recommendation."""
        if not self.view.state.trials:
            return awaited(self.view, "No trials yet", width, height)
        return self._lines(width)

    def _lines(self, width: int) -> list[Row]:
        findings = self.view.findings
        lines = [line for verdict in findings.claims for line in _claim(verdict, width)]
        idle = idle_sentence(self.view.state)
        if idle:
            lines += _hanging(row(("! ", "warn")), idle, width)
        if findings.recommendation:
            lines += _hanging(row(("→ ", "accent")), findings.recommendation, width)
        for choice in findings.choices:
            sign, style = sign_of(choice)
            lines += _hanging(row((f"{sign} ", style)), choice_text(choice), width)
        return lines


def _claim(verdict: Verdict, width: int) -> list[Row]:
    """Return the statement, the verdict with its effect, and remarks."""
    sign, style = MARKS[verdict.verdict]
    lines = _hanging(row((f"{sign} ", style)), verdict.statement, width)
    outcome = row(" " * INDENT, (word_of(verdict), style))
    effect, more = effect_text(verdict), remarks(verdict)
    if effect:
        outcome = row(*outcome, "  ", (effect, "strong"))
    beside = row(*outcome, "  ", (more, "dim"))
    if more and width_of(beside) <= width:
        return [*lines, beside]
    rest = wrap(more, width - INDENT, "dim") if more else []
    return [*lines, outcome, *((*row(" " * INDENT), *line) for line in rest)]


def _hanging(head: Row, text: str, width: int) -> list[Row]:
    first, *rest = wrap(text, width - INDENT)
    return [(*head, *first), *((*row(" " * INDENT), *line) for line in rest)]

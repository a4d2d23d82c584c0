"""The pane of findings: each claim with its verdict and effect, and the recommendation."""

from collections.abc import Iterable, Sequence

from batchscope.engine.findings.claim_text import idle_sentence, scope
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.seed_text import in_order, seed_lines
from batchscope.tui.panes.base import Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.render.styled_text import EMPTY, Row, Run, row, width_of, wrap
from batchscope.tui.viewmodel.status_signs import (
    MARKS,
    choice_text,
    effect_text,
    p_text,
    remarks,
    sign_of,
    word_of,
)

INDENT, DEEPER = 2, 4
CAPTION_WHOLE, CAPTION_EXPLAINED = 56, 72
HEADS = (
    "claim", "verdict", "measure", "effect", "low", "high", "coverage", "low (95 %)",
    "high (95 %)", "seeds", "p", "p adjusted", "left out", "without value", "reason",
)  # fmt: skip


class FindingsPane(Pane):
    """The claims: supported, contradicted or undetermined, with intervals; the recommendation."""

    NAME, TITLE = "findings", "findings"
    TOPICS = ("findings", "trials", "data")

    seeds: bool | None = None
    """Whether the values of the seeds are shown; None: only if everything fits then."""

    def options(self) -> object:
        """Return whether the values of the seeds are shown."""
        return self.seeds

    def turn(self, what: str, step: int) -> str:
        """Show the values of each seed, or hide them."""
        if not any(claim.sides for claim in self.view.findings.claims):
            return "No claim has values to show"
        self.seeds = not self._with_seeds(*self._inner())
        return ""

    def caption(self, width: int) -> Row:
        """Return what the figures of a claim are."""
        if not self.view.findings.claims:
            return EMPTY
        if width >= CAPTION_EXPLAINED:
            return row(("left − right or last − first level [95 % interval], n seeds", "dim"))
        over = " over the seeds" if width >= CAPTION_WHOLE else ""
        return row((f"95 % intervals{over}", "dim"))

    def table(self) -> Iterable[Line]:
        """Return each claim with its verdict, the recommendation, and the values of the seeds."""
        findings = self.view.findings
        yield HEADS
        for each in findings.claims:
            interval = each.effect, each.low, each.high, 1 - each.level
            judged = each.low_95, each.high_95, each.n, each.p, each.p_adjusted
            missing = each.excluded, each.without_value, each.reason
            yield each.statement, each.verdict, each.measure, *interval, *judged, *missing
        if findings.recommendation:
            yield (findings.recommendation,)
        for choice in findings.choices:
            yield (choice_text(choice),)
        if findings.judging:
            yield (findings.judging,)
            yield "claim", "side", "seed", "value"
        for each in findings.claims:
            for side in each.sides:
                for seed, value, bound in in_order(side):
                    yield each.statement, side.name, seed, f">{value:.7g}" if bound else value

    def wanted_rows(self) -> int:
        """Count the rows at the present width."""
        width = max(1, self._inner()[0])
        return len(self._lines(width, bool(self.seeds))) if self.view.state.trials else 1

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the claims, then the recommendation, then how the claims are judged."""
        if not self.view.state.trials:
            return awaited(self.view, "No trials yet", width, height)
        return self._lines(width, self._with_seeds(width, height))

    def _with_seeds(self, width: int, height: int) -> bool:
        if self.seeds is not None:
            return self.seeds
        return len(self._lines(width, True)) <= height

    def _lines(self, width: int, seeds: bool) -> list[Row]:
        findings = self.view.findings
        lines = [line for verdict in findings.claims for line in _claim(verdict, width, seeds)]
        idle = idle_sentence(self.view.state)
        if idle:
            lines += _hanging(row(("! ", "warn")), idle, width)
        if findings.recommendation:
            lines += _hanging(row(("→ ", "accent")), findings.recommendation, width)
        for choice in findings.choices:
            sign, style = sign_of(choice)
            lines += _hanging(row((f"{sign} ", style)), choice_text(choice), width)
        if findings.judging:
            beside = scope(self.view.state) if seeds else ""
            lines += wrap(f"{findings.judging} {beside}".strip(), width, "dim")
        return lines


def _claim(verdict: Verdict, width: int, seeds: bool) -> list[Row]:
    """Return the statement, the verdict with its effect, remarks, and the values of the seeds.

    A narrow tile leaves the p value to the whole pane.
    """
    sign, style = MARKS[verdict.verdict]
    lines = _hanging(row((f"{sign} ", style)), verdict.statement, width)
    parts: list[Run] = [
        (word_of(verdict), style),
        (effect_text(verdict), "strong"),
        (p_text(verdict) if seeds or width >= CAPTION_WHOLE else "", ""),
        (remarks(verdict), "dim"),
    ]
    lines += [(*row(" " * INDENT), *line) for line in _flowed(parts, width - INDENT)]
    for each in seed_lines(verdict) if seeds else ():
        first, *rest = wrap(each.text, width - DEEPER, "dim")
        lines.append((*row(" " * INDENT), *first))
        lines += [(*row(" " * DEEPER), *line) for line in rest]
    return lines


def _flowed(parts: Sequence[Run], width: int) -> list[Row]:
    """Place texts side by side; one that does not fit there begins a line, and is wrapped."""
    lines: list[Row] = []
    for text, style in parts:
        if not text:
            continue
        beside = row(*lines[-1], "  ", (text, style)) if lines else row((text, style))
        if width_of(beside) <= width:
            lines[-1:] = [beside]
        else:
            lines += wrap(text, width, style)
    return lines


def _hanging(head: Row, text: str, width: int) -> list[Row]:
    first, *rest = wrap(text, width - INDENT)
    return [(*head, *first), *((*row(" " * INDENT), *line) for line in rest)]

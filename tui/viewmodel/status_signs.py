"""The sign and colour of a verdict, of a choice of `[select]` and of a sweep's state.

Their words are those of `engine.findings.claim_text` and `engine.findings.selection_text`.
"""

from collections import Counter
from collections.abc import Sequence

from batchscope.engine.analysis.tuning import TuningChoice
from batchscope.engine.findings.claim_text import effect_text as effect_text
from batchscope.engine.findings.claim_text import p_text as p_text
from batchscope.engine.findings.claim_text import remarks as remarks
from batchscope.engine.findings.claim_text import word_of as word_of
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.decisions import Word
from batchscope.engine.findings.selection_text import choice_text as choice_text
from batchscope.tui.render.styled_text import Run

STAR = "★"


def sign_of(choice: TuningChoice) -> Run:
    """Return the sign of a choice with its style."""
    if choice.chosen is not None:
        return STAR, "warn" if choice.edge else "good"
    return ("·", "dim") if choice.open else ("✗", "bad")


SIGNS = {
    "starting": ("◌", "accent"),
    "preparing": ("◌", "accent"),
    "running": ("●", "good"),
    "paused": ("‖", "warn"),
    "stopping": ("■", "warn"),
    "finished": ("✓", "good"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "interrupted": ("!", "warn"),
}


MARKS: dict[Word, tuple[str, str]] = {
    "supported": ("✓", "good"),
    "contradicted": ("✗", "bad"),
    "undetermined": ("?", "warn"),
}


def tally(verdicts: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """Return the counts of verdicts, as `2✓ 1?`; empty without claims."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return tuple(
        (f" {counts[word]}{sign}", style) for word, (sign, style) in MARKS.items() if counts[word]
    )

"""How a verdict is marked on the screen; its words are those of `engine.findings.wording`."""

from collections import Counter
from collections.abc import Sequence

from engine.findings.claims import Verdict, Word
from engine.findings.wording import effect_text as effect_text
from engine.findings.wording import remarks as remarks
from engine.findings.wording import word_of as word_of

MARKS: dict[Word, tuple[str, str]] = {
    "supported": ("✓", "good"),
    "contradicted": ("✗", "bad"),
    "undetermined": ("?", "warn"),
}


def tally(verdicts: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """2✓ 1? as a row of the screen; empty without claims."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return tuple(
        (f" {counts[word]}{sign}", style) for word, (sign, style) in MARKS.items() if counts[word]
    )

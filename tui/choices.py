"""How a choice of `[select]` is marked; its words are those of `engine.findings.choosing`."""

from engine.findings.choosing import choice_text as choice_text
from engine.tuning import Choice
from tui.rows import Run

STAR = "★"


def sign_of(choice: Choice) -> Run:
    """The mark before it."""
    if choice.chosen is not None:
        return STAR, "warn" if choice.edge else "good"
    return ("·", "dim") if choice.open else ("✗", "bad")

"""Claims of a preset that are not judged, since what was changed of it left them nothing."""

from engine.claiming import LEFT_OUT
from engine.state import SweepState


def idle_sentence(state: SweepState) -> str:
    """How many there are; empty where every claim is judged."""
    notes = state.opened.notes if state.opened else ()
    count = sum(note.startswith(LEFT_OUT) for note in notes)
    if not count:
        return ""
    one = count == 1
    are = "1 claim of the preset is" if one else f"{count} claims of the preset are"
    return f"{are} left out: this sweep has nothing to compare for {'it' if one else 'them'}."

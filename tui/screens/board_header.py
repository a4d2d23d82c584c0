"""The first line of the board, and the sentence below it where something needs saying."""

from batchscope.engine.errors import printable
from batchscope.tui.render.styled_text import Row, clip, row, width_of, wrap
from batchscope.tui.render.units import clock, share
from batchscope.tui.viewmodel.status_signs import SIGNS, tally
from batchscope.tui.viewmodel.view import View

NOTICE_MOST = 3


def window_title(view: View, name: str) -> str:
    """What the title of the terminal's window says: the sweep, and how far it is."""
    opened, trials = view.state.opened, view.state.trials.values()
    done = f" {sum(trial.done for trial in trials)}/{len(trials)}" if trials else ""
    return f"{opened.preset if opened else name}{done} {view.phase} - batchscope"


def title(view: View, name: str) -> Row:
    """Program, preset and question."""
    opened = view.state.opened
    asked = printable(opened.question or opened.title) if opened else ""
    named = _name(view, name)
    return (*named, (" ▸ ", "dim"), (asked, "")) if asked else named


def status(view: View, name: str, width: int) -> Row:
    """The state, and before it the verdicts in short where the preset's name keeps its room."""
    state, verdicts = _state(view), tally(view.findings.claims)
    room = width - width_of(_name(view, name)) - width_of(state) - 1
    return (*row(" "), *verdicts, *state) if 0 < width_of(verdicts) <= room else state


def _name(view: View, name: str) -> Row:
    opened = view.state.opened
    preset = printable(opened.preset if opened else name)
    return row((" batchscope", "accent"), "  ", (preset, "strong"))


def _state(view: View) -> Row:
    """The state in a word, how long it lasts and how long it will."""
    phase = view.phase
    sign, style = SIGNS[phase]
    runs: list[tuple[str, str]] = [("  ", ""), (f"{sign} {phase}", style)]
    fetched = view.state.fetching
    if phase == "preparing" and fetched and fetched.total > 0:
        runs.append(
            (f" {share(fetched.received / fetched.total)} of {printable(fetched.name)}", "")
        )
    elapsed = view.elapsed
    if elapsed is not None:
        word = " in" if phase == "finished" else " after" if not view.alive else ""
        runs.append((f"{word} {clock(elapsed)}", ""))
    left = view.remaining()
    if left:
        about = "" if left.measured else "~"
        runs += [("  ETA ", "dim"), (f"{about}{clock(left.seconds)}", "strong")]
    return (*runs, (" ", ""))


def notice(view: View, width: int) -> list[Row]:
    """What a person should know or can do, where the state alone does not say it."""
    said = _said(view)
    if not said:
        return []
    text, style = said
    lines = wrap(text, max(1, width - 2), style)
    if len(lines) > NOTICE_MOST:
        lines = [
            *lines[: NOTICE_MOST - 1],
            (*clip(lines[NOTICE_MOST - 1], width - 4), (" …", style)),
        ]
    return [row(" ", *line) for line in lines]


def _said(view: View) -> tuple[str, str] | None:
    state, ended, phase = view.state, view.state.ended, view.phase
    if view.problem:
        return view.problem, "bad"
    if phase == "interrupted":
        return "no conductor lives, so nothing trains; r resumes the sweep", "warn"
    if state.needed and not state.workers and view.alive:
        return f"no node of the cluster has room yet: waiting for {state.needed}", "warn"
    if phase == "paused":
        return "paused on request: nothing trains until p goes on", "warn"
    if phase == "failed" and ended:
        return f"{ended.reason or 'see the log for what failed'}; r tries again what is left", "bad"
    if phase == "stopped":
        why = f" ({ended.reason})" if ended and ended.reason else ""
        return f"stopped on request{why}; r resumes the sweep", "warn"
    return None

"""The first line of the board, and the notice below it where one is needed."""

from batchscope.engine.analysis.final_range import final_range
from batchscope.engine.errors import printable
from batchscope.tui.render.styled_text import Row, clip, row, width_of, wrap
from batchscope.tui.render.units import clock, share
from batchscope.tui.viewmodel.result_text import result_text
from batchscope.tui.viewmodel.status_signs import SIGNS, tally
from batchscope.tui.viewmodel.view import View

NOTICE_MOST = 3
APART = 12  # columns between the question, the results and the verdicts


def window_title(view: View, name: str) -> str:
    """Return the title of the terminal's window: the sweep and its progress."""
    opened, trials = view.state.opened, view.state.trials.values()
    done = f" {sum(trial.done for trial in trials)}/{len(trials)}" if trials else ""
    return f"{opened.preset if opened else name}{done} {view.phase} - batchscope"


def title(view: View, name: str) -> Row:
    """Return program, preset and question."""
    opened = view.state.opened
    asked = printable(opened.question or opened.title) if opened else ""
    named = _name(view, name)
    return (*named, (" ▸ ", "dim"), (asked, "")) if asked else named


def status(view: View, name: str, width: int) -> Row:
    """Return the sweep's state, after the counts of verdicts on its claims if there is room."""
    state, verdicts = _state(view), tally(view.findings.claims)
    whole = width - width_of(title(view, name)) - width_of(state) - width_of(verdicts) - APART
    result = _result(view)
    if result and whole >= len(result):
        state = row("  ", (result, ""), *state)
    state = row(*_shown(view, width - width_of(_name(view, name)) - width_of(state)), *state)
    named = row((" claims", "dim"), *verdicts, *state)
    room = width - width_of(_name(view, name)) - 1
    return named if verdicts and width_of(named) <= room else state


def _name(view: View, name: str) -> Row:
    opened = view.state.opened
    preset = printable(opened.preset if opened else name)
    return row((" batchscope", "accent"), "  ", (preset, "strong"))


def _shown(view: View, room: int) -> Row:
    """Return how many configurations are shown, if some are hidden, and what shows all."""
    count = view.shown_count
    texts = (f"  {count}, i shows all", f"  {count}") if count else ()
    return row(*((text, "warn") for text in texts if len(text) <= room))[:1]


def _result(view: View) -> str:
    """Return the range of the results of a task, whose metric is not known beforehand."""
    if not any(each.settings.task for each in view.state.configurations.values()):
        return ""
    stamp = view.moved["trials"], len(view.state.data)
    found = view.once("final range", stamp, lambda: final_range(view.state))
    return result_text(found.measure, found.best, found.worst) if found else ""


def _state(view: View) -> Row:
    """Return the sweep's state, the time elapsed and the time left."""
    phase = view.phase
    sign, style = SIGNS[phase]
    word, nothing = phase, view.nothing
    if nothing and phase == "finished":
        (sign, style), word = SIGNS["failed"], nothing.short
    runs: list[tuple[str, str]] = [("  ", ""), (f"{sign} {word}", style)]
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
    """Return why nothing trains and which key helps; no rows while all is well."""
    found = _notice(view)
    if not found:
        return []
    text, style = found
    lines = wrap(text, max(1, width - 2), style)
    if len(lines) > NOTICE_MOST:
        lines = [
            *lines[: NOTICE_MOST - 1],
            (*clip(lines[NOTICE_MOST - 1], width - 4), (" …", style)),
        ]
    return [row(" ", *line) for line in lines]


def _notice(view: View) -> tuple[str, str] | None:
    state, ended, phase = view.state, view.state.ended, view.phase
    if view.problem:
        return view.problem, "bad"
    if phase == "interrupted":
        return "Interrupted: nothing is training. r resumes the sweep", "warn"
    if state.needed and not state.workers and view.alive:
        return f"Waiting for the cluster: no node has room yet for {state.needed}", "warn"
    if phase == "paused":
        return "Paused. p resumes", "warn"
    if view.nothing and phase in ("finished", "failed"):
        again = ". r runs the failed trials again" if state.count("failed") else ""
        return f"{view.nothing.text}{again}", "bad"
    if phase == "failed" and ended:
        return f"Failed: {ended.reason or 'see the log'}. r runs the unfinished trials again", "bad"
    if phase == "stopped":
        why = f": {ended.reason}" if ended and ended.reason else ""
        return f"Stopped{why}. r resumes the sweep", "warn"
    return None

"""All findings of a sweep: what `findings.json`, the summary and the board say."""

from typing import Any

import msgspec
from msgspec import Struct

from engine.findings.claims import Verdict, judge
from engine.findings.probes import competitions, probes
from engine.findings.recommendation import recommendation
from engine.findings.summary import figures
from engine.state import SweepState
from engine.tuning import Choice, choices


class Findings(Struct, frozen=True):
    """The verdicts in the order of the claims, the sentence that sums it up, what was chosen."""

    claims: tuple[Verdict, ...] = ()
    recommendation: str = ""
    choices: tuple[Choice, ...] = ()


def find(state: SweepState) -> Findings:
    """Judge the claims and recommend; what a screen shows of a sweep that runs."""
    advice = recommendation(state) if state.trials else ""
    return Findings(tuple(judge(state)), advice, tuple(choices(state)))


def document(state: SweepState) -> dict[str, Any]:
    """What `findings.json` holds: the same state gives the same bytes."""
    found = find(state)
    probed = {"probes": probes(state), "competitions": competitions(state)}
    return {
        "claims": msgspec.to_builtins(list(found.claims)),
        "findings": {
            "configurations": msgspec.to_builtins(figures(state)),
            **{name: msgspec.to_builtins(rows) for name, rows in probed.items() if rows},
        },
        "recommendation": found.recommendation,
        **({"choices": msgspec.to_builtins(found.choices)} if found.choices else {}),
    }

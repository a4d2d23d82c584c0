"""All findings of a sweep: what `findings.json`, the summary and the board say."""

from typing import Any

import msgspec
from msgspec import Struct

from engine.findings.claims import Verdict, judge
from engine.findings.probes import competitions, probes
from engine.findings.recommendation import recommendation
from engine.findings.summary import figures
from engine.state import SweepState


class Findings(Struct, frozen=True):
    """The verdicts in the order of the claims, and the sentence that sums it up."""

    claims: tuple[Verdict, ...] = ()
    recommendation: str = ""


def find(state: SweepState) -> Findings:
    """Judge the claims and recommend; what a screen shows of a sweep that runs."""
    return Findings(tuple(judge(state)), recommendation(state) if state.trials else "")


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
    }

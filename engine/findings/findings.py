"""Collects all findings of a sweep, for `findings.json`, the summary and the board."""

from typing import Any

import msgspec
from msgspec import Struct

from batchscope.engine.analysis.bias_variance import BiasVariance, bias_variances
from batchscope.engine.analysis.completeness import complete
from batchscope.engine.analysis.noise_scales import NoiseFinding, noise_scales
from batchscope.engine.analysis.tuning import TuningChoice, choices
from batchscope.engine.findings.claim_text import family_sentence
from batchscope.engine.findings.claim_verdicts import Verdict, judge
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.findings.critical_batch_size import Critical, critical_batch_size
from batchscope.engine.findings.pareto import pareto
from batchscope.engine.findings.probe_summary import competitions, probes
from batchscope.engine.findings.recommendation import advice
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition
from batchscope.engine.metrics.primary_metric import primary_metric


class Findings(Struct, frozen=True):
    """The findings of a sweep, as the board and the summary show them.

    Attributes:
        claims: the verdicts, in the order of the claims.
        recommendation: a paragraph that says which batch size to use.
        choices: what `[select]` chose.
        critical_batch_size: only of a sweep with a target.
        noise_scale: only together with a critical batch size.
        bias_variance: only if a claim is about bias or variance.
        judging: a sentence on how the claims are judged together; empty without a claim.
    """

    claims: tuple[Verdict, ...] = ()
    recommendation: str = ""
    choices: tuple[TuningChoice, ...] = ()
    critical_batch_size: Critical | None = None
    noise_scale: tuple[NoiseFinding, ...] = ()
    bias_variance: tuple[BiasVariance, ...] = ()
    judging: str = ""


def find(state: SweepState) -> Findings:
    """Judge the claims and recommend a batch size; the sweep may still run."""
    critical = critical_batch_size(state, judged_by_size(state))
    noise = tuple(noise_scales(state)) if critical else ()
    recommendation = advice(state, critical, noise) if state.trials else ""
    parts = tuple(bias_variances(state)) if _asks_for_parts(state) else ()
    return Findings(
        tuple(judge(state)),
        recommendation,
        tuple(choices(state)),
        critical,
        noise,
        parts,
        family_sentence(state),
    )


def _primary(state: SweepState) -> dict[str, str]:
    """Return the metric by which a sweep is told; empty if it is the test accuracy."""
    metric = primary_metric(state)
    if metric.measure == "test_accuracy":
        return {}
    facts = metric.measure, metric.title, metric.unit, metric.better
    return dict(zip(("measure", "title", "unit", "better"), facts, strict=True))


def _asks_for_parts(state: SweepState) -> bool:
    """Return whether a claim is about bias or variance."""
    claims = state.opened.claims if state.opened else ()
    return any(claim.measure in ErrorDecomposition._fields for claim in claims)


def judged_by_size(state: SweepState) -> dict[int, str]:
    """Return for each batch size the configuration that is judged for the choice of `[select]`."""
    judged = [choice.judged for choice in choices(state) if choice.judged is not None]
    return {state.configurations[name].settings.train.batch_size: name for name in judged}


def document(state: SweepState) -> dict[str, Any]:
    """Return the content of `findings.json`; the same state gives the same bytes."""
    findings = find(state)
    probed = {"probes": probes(state), "competitions": competitions(state)}
    beside = {
        "critical_batch_size": findings.critical_batch_size,
        "pareto": pareto(state),
        "noise_scale": findings.noise_scale or noise_scales(state),
        "bias_variance": findings.bias_variance or bias_variances(state),
        "primary_metric": _primary(state),
    }
    return {
        "complete": complete(state),
        "claims": msgspec.to_builtins(list(findings.claims)),
        "judging": findings.judging,
        "findings": {
            "configurations": msgspec.to_builtins(figures(state)),
            **{name: msgspec.to_builtins(rows) for name, rows in probed.items() if rows},
        },
        "recommendation": findings.recommendation,
        **({"choices": msgspec.to_builtins(findings.choices)} if findings.choices else {}),
        **{name: msgspec.to_builtins(rows) for name, rows in beside.items() if rows},
    }

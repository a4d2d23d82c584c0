"""The recommendation as a paragraph: what to use, what it costs, and what the curve says of it.

Its first sentence is `engine.findings.recommendation`'s, whose statistics decide.
"""

from collections.abc import Sequence

from engine.findings.critical import Critical
from engine.findings.noise_scales import NoiseFinding
from engine.findings.recommendation import recommended
from engine.findings.sizing import critical_sentence, meaning, noise_sentence
from engine.findings.summary import mean_of
from engine.spec import Configuration
from engine.state import SweepState


def advice(
    state: SweepState, critical: Critical | None = None, noise: Sequence[NoiseFinding] = ()
) -> str:
    """Batch size, micro-batch, rate, cost and evidence; undetermined where it is."""
    found = recommended(state)
    parts = [found.sentence]
    if found.configuration:
        parts.append(_settings(state, found.configuration))
    if critical:
        parts += [critical_sentence(critical), noise_sentence(critical, noise)]
    if critical and found.configuration:
        parts.append(meaning(critical, found.configuration.settings.train.batch_size))
    return " ".join(part for part in parts if part)


def _settings(state: SweepState, configuration: Configuration) -> str:
    """Rate, micro-batch and cost of the configuration that was named."""
    trials = state.replicates(configuration.id)
    started = next((trial.started for trial in trials if trial.started), None)
    plan = next((state.plans[trial.id] for trial in trials if trial.id in state.plans), None)
    lr = started.lr if started else configuration.settings.train.lr
    scaled = " after scaling" if lr != configuration.settings.train.lr else ""
    told = f"With a learning rate of {lr:g}{scaled} ({configuration.settings.train.optimizer})"
    told += f" and micro-batches of {plan.micro_batch_size}" if plan else ""
    costs = [(mean_of(state, configuration.id, name), name) for name in ("steps", "samples")]
    spent = " and ".join(f"{mean.mean:,.0f} {name}" for mean, name in costs if mean)
    return f"{told} it takes {spent}."

"""The values behind a verdict in words: those of every seed, for each side or level."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batchscope.engine.findings.claim_text import unit_of
from batchscope.engine.findings.claim_verdicts import SeedValues, Verdict
from batchscope.engine.formatting import significant
from batchscope.engine.metrics.registry import TRIAL


class SeedLine(NamedTuple):
    """One side or level: its name, its values in the order of the seeds, and what is missing."""

    name: str
    values: str
    missing: str

    @property
    def text(self) -> str:
        """All of it: "64: 94.10 94.30 93.90 %; diverged or failed: seed 3"."""
        return "; ".join(part for part in (f"{self.name}: {self.values}", self.missing) if part)


def seed_lines(verdict: Verdict) -> list[SeedLine]:
    """Return a line for each side of a claim, or each level of a trend; in the unit of the measure.

    A value above a bound, of a seed that missed its target, is shown as >1,200.
    """
    every = [value for side in verdict.sides for _, value, _ in in_order(side)]
    unit, factor = value_unit(verdict.measure, max(map(abs, every), default=0.0))
    return [
        SeedLine(
            side.name,
            " ".join(
                [*(_shown(verdict.measure, *each[1:], factor) for each in in_order(side))]
                + ([unit] if unit and (side.values or side.above) else [])
            )
            or "no values",
            missing_text(side),
        )
        for side in verdict.sides
    ]


def in_order(side: SeedValues) -> list[tuple[str, float, bool]]:
    """Return (seed, value, whether it is only a bound) of a side, in the order of the seeds."""
    known: Mapping[str, tuple[float, bool]] = {
        **{seed: (value, True) for seed, value in side.above.items()},
        **{seed: (value, False) for seed, value in side.values.items()},
    }
    return [(seed, *known[seed]) for seed in sorted(known, key=int)]


def value_unit(measure: str, scale: float) -> tuple[str, float]:
    """Return the unit of a value, without a space, and the factor to multiply the value with."""
    metric = TRIAL.get(measure)
    if metric and metric.is_accuracy:
        return "%", 100.0
    unit, factor = unit_of(measure, scale)
    return unit.strip(), factor


def _shown(measure: str, value: float, bound: bool, factor: float) -> str:
    metric = TRIAL.get(measure)
    size = value * factor
    exact = metric is not None and metric.is_accuracy
    whole = 1e4 <= abs(size) < 1e7
    text = f"{size:.2f}" if exact else f"{size:,.0f}" if whole else significant(size)
    text = text.replace("-", "−") if value < 0 else text
    return f">{text}" if bound else text


def missing_text(side: SeedValues) -> str:
    """Return which trials have no value of their own, or are left out.

    They are named by their seeds if all of a side belong to one configuration. If there are none,
    the seeds that have a value are named, unless they are the first ones.
    """
    parts = (
        ("without a value", () if side.above else side.without_value),
        ("diverged or failed", side.excluded),
    )
    missing = [f"{what}: {_named(trials)}" for what, trials in parts if trials]
    seeds = [int(seed) for seed, *_ in in_order(side)]
    if not missing and seeds != list(range(len(seeds))):
        return f"seeds {_ranges(seeds)}"
    return "; ".join(missing)


def _ranges(seeds: Sequence[int]) -> str:
    """Return numbers in rising order as text: 3 to 7; 0, 1, 4."""
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _named(trials: Sequence[str]) -> str:
    """Return the trials as "seeds 1, 7", or by their ids if they are of several configurations."""
    parted = [trial.rpartition("-s") for trial in trials]
    if len({configuration for configuration, _, _ in parted}) > 1:
        return ", ".join(trials)
    seeds = sorted(int(seed) for _, _, seed in parted)
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"

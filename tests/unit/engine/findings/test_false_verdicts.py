"""False verdicts are as seldom as stated, in simulated sweeps with a known truth.

Small runs here; the marker `campaign` and `benchmarks/verdicts.py` run 2,000 simulations each.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.findings.claim_verdicts import judge
from batchscope.engine.findings.recommendation import recommended
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    record,
    sweep,
    trend,
)
from tests.unit.engine.verdict_simulations import families, recommendations
from tests.unit.engine.verdict_simulations.errors import ERRORS
from tests.unit.engine.verdict_simulations.means import MEANS, MISSING, UNKNOWABLE
from tests.unit.engine.verdict_simulations.noise import NOISE, Drawn, signals
from tests.unit.engine.verdict_simulations.sides import ALLOWED, Kind, share

SIMULATED = 2000


def most(rounds: int, level: float) -> int:
    """So many false verdicts occur once in ten thousand runs, if they are as frequent as stated."""
    return int(stats.binom.ppf(1 - 1e-4, rounds, level))


def by_name(kind: Kind) -> str:
    return kind.name


@pytest.mark.parametrize("kind", [*MEANS, *MISSING], ids=by_name)
def test_false_claims_are_seldom_supported(kind: Kind) -> None:
    for n in (3, 5, 10):
        assert share(kind, n, 60) * 60 <= most(60, ALLOWED[kind.stated]), f"{n} seeds"


@pytest.mark.parametrize("kind", NOISE, ids=by_name)
def test_false_claims_on_noise_scales_are_seldom_supported(kind: Kind) -> None:
    assert share(kind, 5, 25) * 25 <= most(25, ALLOWED[kind.stated])


@pytest.mark.campaign
@pytest.mark.parametrize("kind", [*MEANS, *MISSING, *NOISE, *ERRORS], ids=by_name)
def test_false_claims_are_supported_no_oftener_than_allowed(kind: Kind) -> None:
    for n in kind.seeds:
        assert share(kind, n, SIMULATED) <= ALLOWED[kind.stated], f"{n} seeds"


def test_a_collapse_that_no_seed_showed_cannot_be_known() -> None:
    """With 20 % collapses, five seeds show none in 0.8^5 = 33 % of sweeps."""
    kind = next(each for each in UNKNOWABLE if "0.2" in each.name)
    assert share(kind, 5, 400) == pytest.approx(0.8**5, abs=0.09)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_several_claims_err_together_as_seldom_as_one(name: str) -> None:
    assert families.erred(families.FAMILIES[name], 5, 150) * 150 <= most(150, families.ALLOWED)


def test_without_correction_several_claims_err_oftener() -> None:
    assert families.erred(families.independent, 5, 300, "none") > 0.12


@pytest.mark.campaign
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("name", families.FAMILIES)
def test_five_false_claims_err_no_oftener_than_allowed(name: str, n: int) -> None:
    assert families.erred(families.FAMILIES[name], n, SIMULATED) <= families.ALLOWED


@pytest.mark.parametrize("sizes", recommendations.SIZES, ids=lambda each: each.name)
def test_a_size_beyond_the_margin_is_seldom_recommended(sizes: recommendations.Sizes) -> None:
    worse, _ = recommendations.shares(sizes, 5, 60)
    assert worse * 60 <= most(60, recommendations.ALLOWED)


@pytest.mark.campaign
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("sizes", recommendations.SIZES, ids=lambda each: each.name)
def test_a_size_beyond_the_margin_is_recommended_no_oftener_than_allowed(
    sizes: recommendations.Sizes, n: int
) -> None:
    assert recommendations.shares(sizes, n, SIMULATED)[0] <= recommendations.ALLOWED


# ---- through whole sweeps


def drawn_sweep(random: np.random.Generator, n: int) -> SweepState:
    """Two sizes without any difference: accuracies, noise scales, and targets that some miss."""
    sides = []
    for size in (8, 64):
        pairs = Drawn(draws=20).pairs(random, signals(random, 32.0, n))
        ends = [
            Ended(
                records=(
                    record(
                        0.9 if steps <= 1086 else 0.5,
                        steps=min(int(steps), 1086),
                        test_loss=float(loss),
                        noise_trace=trace,
                        noise_signal=signal,
                        noise_draws=20,
                    ),
                )
            )
            for steps, loss, (trace, signal) in zip(
                random.normal(1000, 200, n), random.normal(1, 0.1, n), pairs, strict=True
            )
        ]
        sides.append((configuration(size, seeds=n, target_accuracy=0.8), ends))
    return sweep(
        sides,
        comparison("less", measure="test_loss"),
        trend("increasing", "test_loss"),
        comparison("greater", measure="steps_to_target"),
        comparison("less", measure="noise_scale"),
        Claim(
            statement="s",
            measure="noise_scale",
            left={"train.batch_size": 8},
            relation="greater",
            value=32.0,
        ),
    )


def erring(rounds: int, n: int) -> tuple[int, list[int]]:
    """In how many sweeps some claim is decided, and how often each is supported by itself."""
    random = np.random.default_rng([24, n])
    some, each = 0, [0] * 5
    for _ in range(rounds):
        found = judge(drawn_sweep(random, n))
        some += any(verdict.verdict != "undetermined" for verdict in found)
        for at, verdict in enumerate(found):
            each[at] += verdict.p is not None and verdict.p < 0.05 and (verdict.effect or 0) != 0
    return some, each


def test_whole_sweeps_without_an_effect_seldom_have_a_verdict() -> None:
    some, _ = erring(60, 5)
    assert some <= most(60, families.ALLOWED)


@pytest.mark.campaign
@pytest.mark.parametrize("n", [3, 5, 10])
def test_whole_sweeps_without_an_effect_have_a_verdict_no_oftener_than_allowed(n: int) -> None:
    some, each = erring(SIMULATED, n)
    assert some <= families.ALLOWED * SIMULATED
    assert max(each) <= most(SIMULATED, 0.05), "both ways together"


def quickstart(values: Sequence[Sequence[float]]) -> SweepState:
    return sweep(
        [
            (
                configuration(8 << at, seeds=len(each)),
                [Ended(value, figures={"seconds": 10.0 / (at + 1)}) for value in each],
            )
            for at, each in enumerate(values)
        ]
    )


def test_a_recommendation_of_a_whole_sweep_is_that_of_its_sides() -> None:
    """Accuracies in steps of one image of 360; the fixture's test set has 1,000 images."""
    random = np.random.default_rng(6)
    sizes = next(each for each in recommendations.SIZES if "two sizes" in each.name)
    agreed = 0
    for _ in range(20):
        values = recommendations.drawn(sizes, random, 10)
        found = recommended(quickstart(values)).configuration
        at = recommendations.named(values)
        agreed += (found.id if found else None) == (f"b{8 << at}" if at is not None else None)
    assert agreed >= 18

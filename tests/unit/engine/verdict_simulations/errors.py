"""Bias and variance: predictions of seeds, whose pseudo-values are judged as values of the seeds.

Each image has a share of seeds that predict it wrongly, and a seed is a little better or worse than
others on all of them. The truth is the expectation of the figure over sets of as many seeds, from
many simulated sets: the bias of few seeds is larger than that of many.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.metrics.bias_variance import ErrorDecomposition, decompose
from batchscope.engine.metrics.prediction_codec import pack
from tests.unit.engine.verdict_simulations.sides import EQUALITY, Kind, Random, between, side

IMAGES, CLASSES, SETS = 200, 10, 1000
FINE = 0.25 / IMAGES**2
HARD, EASY = 1.0, 1.6
"""How far the average image is from being predicted wrongly, in standard deviations."""


def predictions(random: Random, n: int, ease: float) -> Any:
    """Return (predicted − label) mod classes, (seeds, images).

    The images are the same in every sweep, as a test set is.
    """
    images = np.random.default_rng(1).normal(ease, 1, IMAGES)
    skill = random.normal(0, 0.15, (n, 1))
    wrong = images + skill + random.normal(0, 0.7, (n, IMAGES)) < 0
    other = np.where(random.random((n, IMAGES)) < 0.7, 1, random.integers(1, CLASSES, (n, IMAGES)))
    return np.where(wrong, other, 0).astype(np.uint8)


def parts(found: Any) -> tuple[ErrorDecomposition, ...]:
    """Return the pseudo-values of the seeds."""
    return decompose(tuple(pack(each.tobytes()) for each in found), CLASSES).seeds


@lru_cache(maxsize=64)
def truth(n: int, ease: float, name: str) -> float:
    """Return the expectation of a part over sets of `n` seeds."""
    random = np.random.default_rng([9, n])
    wholes = (
        decompose(tuple(pack(e.tobytes()) for e in predictions(random, n, ease)), CLASSES).whole
        for _ in range(SETS)
    )
    return float(np.mean([getattr(each, name) for each in wholes]))


def same(name: str) -> Kind:
    """Both sides have the same distribution; or the right has more errors."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        eases = (EASY, HARD if true else EASY)
        sides = (_side(predictions(random, n, ease), name) for ease in eases)
        return between("greater" if true and name == "net_variance" else "less", *sides)

    return Kind(f"{name} of two configurations, less", draw, seeds=(4, 5, 10))


def equal(name: str) -> Kind:
    """As far apart as would no longer count as equal."""

    def draw(random: Random, n: int, true: bool) -> Verdict:
        left = _side(predictions(random, n, EASY), name)
        far = abs(truth(n, HARD, name) - truth(n, EASY, name))
        right = _side(predictions(random, n, EASY if true else HARD), name)
        return between("equal", left, right, within=far)

    return Kind(f"{name} of two configurations, equal", draw, EQUALITY, seeds=(4, 5, 10))


def _side(found: Any, name: str) -> Any:
    return side([getattr(each, name) for each in parts(found)], measure=name, floor=FINE)


ERRORS = (same("bias"), same("variance"), same("net_variance"), equal("bias"), equal("variance"))

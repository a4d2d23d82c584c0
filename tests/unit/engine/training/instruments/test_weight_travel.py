"""Update norms and path length, compared with a naive record of all weights."""

import numpy as np
import pytest
import torch

from batchscope.engine.training.instruments.grad_norms import GradientNorms
from batchscope.engine.training.instruments.instrument import Step
from batchscope.engine.training.instruments.weight_travel import DescentTravel, SampledTravel


def step_in(slot: int, lr: float) -> Step:
    return Step(slot + 1, slot, 8, 8, lr, 1.0)


def walk(
    steps: int, per_epoch: int, total: int | None
) -> tuple[SampledTravel, list[float], list[float]]:
    """Return the measurements of each epoch of a random walk, and the norm of every update."""
    torch.manual_seed(0)
    weights, means, norms = torch.zeros(1, 10), list[float](), list[float]()
    travel = SampledTravel(weights, per_epoch, total)
    for step in range(1, steps + 1):
        update = torch.randn(1, 10) * step
        travel.before_step()
        weights += update
        travel.after_step()
        norms.append(float(update.norm()))
        if step % per_epoch == 0 or step == steps:
            means.append(travel.of(0)[0])
            travel.end_epoch()
    return travel, means, norms


def test_every_step_of_a_short_run_is_measured() -> None:
    travel, means, norms = walk(steps=25, per_epoch=10, total=25)
    assert travel.every == 1
    assert travel.of(0)[1] == pytest.approx(sum(norms), rel=1e-5)
    assert means == pytest.approx(
        [sum(norms[:10]) / 10, sum(norms[10:20]) / 10, sum(norms[20:]) / 5], rel=1e-5
    )


def test_long_runs_are_sampled_and_scaled_up() -> None:
    travel, means, norms = walk(steps=20_000, per_epoch=1000, total=20_000)
    assert travel.every == 13  # 14, 15 and 16 have divisors in common with 1,000
    sampled = norms[0 : 1000 : travel.every]
    assert means[0] == pytest.approx(sum(sampled) / len(sampled), rel=1e-5)
    assert travel.of(0)[1] == pytest.approx(sum(norms), rel=0.02)


@pytest.mark.parametrize(("per_epoch", "total"), [(1, 100_000), (3, 100_000), (7, None), (1, 1)])
def test_every_epoch_has_a_measured_update(per_epoch: int, total: int | None) -> None:
    _, means, _ = walk(steps=per_epoch * 5, per_epoch=per_epoch, total=total)
    assert len(means) == 5
    assert all(mean > 0 for mean in means)


@pytest.mark.parametrize(("per_epoch", "last"), [(4, 30.0), (157, 8.0), (48, 20.0), (2, 12.0)])
def test_a_different_last_batch_is_measured_in_proportion(per_epoch: int, last: float) -> None:
    """Its updates are `last` times as long; a stride that divides the epoch would miss that."""
    total = per_epoch * 800
    weights = torch.zeros(1, 1)
    travel, path = SampledTravel(weights, per_epoch, total), 0.0
    for step in range(1, total + 1):
        update = last if step % per_epoch == 0 else 1.0
        travel.before_step()
        weights += update
        travel.after_step()
        path += update
        if step % per_epoch == 0:
            travel.end_epoch()
    assert travel.of(0)[1] == pytest.approx(path, rel=0.02)


def test_an_epoch_without_a_measured_update_has_the_mean_of_the_previous_one() -> None:
    weights = torch.zeros(1, 1)
    travel = SampledTravel(weights, 7, 100_000)
    for step in range(15):
        travel.before_step()
        weights += 2.0
        travel.after_step()
        if step % 7 == 6:
            assert travel.of(0)[0] == 2.0
            travel.end_epoch()
    assert travel.of(0)[0] == 2.0
    assert travel.of(0)[1] == 30.0


def test_every_update_of_plain_descent_is_known() -> None:
    """Rates 0.5, 0.5 and 0.25, two replicates; an epoch ends after the second step."""
    lengths = GradientNorms(torch.zeros(2, 3), steps=3)
    descent = DescentTravel(lengths)
    for at, (norms, lr) in enumerate((([1.0, 4.0], 0.5), ([3.0, 0.0], 0.5))):
        lengths.kept[at] = torch.tensor(norms)
        descent.after_step(step_in(at, lr))
    assert [descent.of(0), descent.of(1)] == [(1.0, 2.0), (1.0, 2.0)]
    descent.end_epoch()
    kept = descent.state()
    others = GradientNorms(torch.zeros(2, 3), steps=3)
    others.kept.copy_(lengths.kept)
    other = DescentTravel(others)
    other.load(kept)
    for each, kept_in in ((descent, lengths), (other, others)):
        kept_in.kept[2] = torch.tensor([8.0, 2.0])
        each.after_step(step_in(2, 0.25))
        assert [each.of(0), each.of(1)] == [(2.0, 4.0), (0.5, 2.5)]
        each.end_slice()
        kept_in.kept[0] = torch.tensor([2.0, 0.0])
        each.after_step(step_in(0, 0.5))
        assert [each.of(0), each.of(1)] == [(1.5, 5.0), (0.25, 2.5)]


def test_norms_are_those_of_the_rows() -> None:
    gradient = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    lengths = GradientNorms(gradient, steps=2)
    lengths.take(1)
    expected = gradient.double().norm(dim=1).numpy()
    assert lengths.of(2)[1] == pytest.approx(expected, rel=1e-6)
    gradient[1, 7] = float("nan")
    lengths.take(0)
    assert np.isfinite(lengths.of(1)[0]).tolist() == [True, False, True]

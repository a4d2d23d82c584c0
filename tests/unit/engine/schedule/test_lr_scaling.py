"""Learning rates at each batch size and step, compared with numbers computed by hand."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.errors import UsageProblem
from batchscope.engine.schedule.lr_scaling import Rates, scaled_rates, warmed_up, warmup_start
from batchscope.engine.spec import Data, Model, Scaling, Settings, Train

Rule = Literal["none", "linear", "sqrt", "adam-sqrt"]


def rates(
    rule: Rule,
    batch_size: int,
    *,
    lr: float = 0.1,
    base: int | None = 64,
    max_lr: float | None = None,
) -> Rates:
    table = Settings(
        data=Data(name="digits"),
        model=Model(name="mlp"),
        train=Train(batch_size=batch_size, lr=lr, epochs=1),
        scaling=Scaling(rule=rule, base_batch_size=base, max_lr=max_lr),
    )
    return scaled_rates(table, batch_size)


@pytest.mark.parametrize(
    ("rule", "batch_size", "lr"),
    [
        ("none", 1, 0.1),
        ("none", 64, 0.1),
        ("none", 1024, 0.1),
        ("linear", 1, 0.0015625),
        ("linear", 16, 0.025),
        ("linear", 64, 0.1),
        ("linear", 100, 0.15625),
        ("linear", 1024, 1.6),
        ("sqrt", 1, 0.0125),
        ("sqrt", 16, 0.05),
        ("sqrt", 64, 0.1),
        ("sqrt", 100, 0.125),
        ("sqrt", 1024, 0.4),
    ],
)
def test_rate_of_each_rule(rule: Rule, batch_size: int, lr: float) -> None:
    scaled = rates(rule, batch_size)
    assert scaled.lr == pytest.approx(lr, rel=1e-14)
    assert (scaled.betas, scaled.epsilon) == ((0.9, 0.999), 1e-8)


@pytest.mark.parametrize(
    ("batch_size", "lr", "beta1", "beta2", "epsilon"),
    [
        (16, 0.05, 0.975, 0.99975, 2e-8),
        (64, 0.1, 0.9, 0.999, 1e-8),
        (144, 0.15, 0.775, 0.99775, 6.666666666666667e-9),
        (256, 0.2, 0.6, 0.996, 5e-9),
        (576, 0.3, 0.1, 0.991, 3.3333333333333333e-9),
    ],
)
def test_adam_sqrt_moves_betas_and_epsilon_too(
    batch_size: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    scaled = rates("adam-sqrt", batch_size)
    assert scaled.lr == pytest.approx(lr, rel=1e-14)
    assert scaled.betas == pytest.approx((beta1, beta2), rel=1e-12)
    assert scaled.epsilon == pytest.approx(epsilon, rel=1e-14)


@pytest.mark.parametrize("batch_size", [641, 1024, 1437])
def test_adam_sqrt_rejects_a_negative_beta(batch_size: int) -> None:
    with pytest.raises(UsageProblem, match=rf"^scaling.rule: .*beta1.*{batch_size} is"):
        rates("adam-sqrt", batch_size)


def test_adam_sqrt_up_to_its_limit() -> None:
    scaled = rates("adam-sqrt", 639)
    assert scaled.betas == pytest.approx((1 - 0.9984375, 1 - 0.009984375), rel=1e-9)
    assert scaled.betas[0] > 0


@pytest.mark.parametrize("rule", ["none", "linear", "sqrt", "adam-sqrt"])
def test_the_base_batch_size_has_the_rate_of_the_preset(rule: Rule) -> None:
    scaled = rates(rule, 48, base=48)
    assert (scaled.lr, scaled.epsilon) == (0.1, 1e-8)
    assert scaled.betas == pytest.approx((0.9, 0.999), rel=1e-15)


def test_without_a_rule_no_base_is_needed() -> None:
    assert rates("none", 512, base=None) == Rates(0.1)


@pytest.mark.parametrize(
    ("rule", "batch_size", "lr"),
    [
        ("none", 64, 0.08),
        ("linear", 32, 0.05),
        ("linear", 64, 0.08),
        ("linear", 1024, 0.08),
        ("sqrt", 16, 0.05),
        ("sqrt", 1024, 0.08),
        ("adam-sqrt", 256, 0.08),
    ],
)
def test_the_cap_comes_after_scaling(rule: Rule, batch_size: int, lr: float) -> None:
    assert rates(rule, batch_size, max_lr=0.08).lr == pytest.approx(lr, rel=1e-14)


def test_the_cap_does_not_change_betas_and_epsilon() -> None:
    capped, free = rates("adam-sqrt", 256, max_lr=0.01), rates("adam-sqrt", 256)
    assert (capped.betas, capped.epsilon) == (free.betas, free.epsilon)


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [
        (0, [2, 2, 2, 2]),
        (0.5, [2, 2, 2, 2]),
        (1, [2, 2, 2, 2]),
        (2, [1, 2, 2, 2]),
        (4, [0.5, 1, 1.5, 2, 2, 2]),
        (2.5, [0.8, 1.6, 2, 2]),
        (5, [0.4, 0.8, 1.2, 1.6, 2, 2]),
    ],
)
def test_warmup_at_each_step(warmup_steps: float, expected: list[float]) -> None:
    found = [warmed_up(2.0, step, warmup_steps) for step in range(1, len(expected) + 1)]
    assert found == pytest.approx(expected, rel=1e-14)


@settings(deadline=None)
@given(st.floats(1e-6, 1e3), st.floats(0, 500))
def test_warmup_rises_by_equal_amounts_and_ends_at_the_rate(lr: float, warmup: float) -> None:
    steps = range(1, int(warmup) + 3)
    found = [warmed_up(lr, step, warmup) for step in steps]
    assert found == sorted(found)
    assert found[0] > 0
    assert found[-1] == lr
    rising = [rate for step, rate in zip(steps, found, strict=True) if step < warmup]
    assert rising == pytest.approx([lr / warmup * n for n in range(1, len(rising) + 1)])


@pytest.mark.parametrize(
    ("rule", "batch_size", "expected"),
    [
        # from 0.1 to 0.4, to 0.2, or from nothing to 0.1 and 0.05, over four steps
        ("linear", 256, [0.175, 0.25, 0.325, 0.4, 0.4]),
        ("sqrt", 256, [0.125, 0.15, 0.175, 0.2, 0.2]),
        ("linear", 64, [0.025, 0.05, 0.075, 0.1, 0.1]),
        ("linear", 32, [0.0125, 0.025, 0.0375, 0.05, 0.05]),
        ("none", 256, [0.025, 0.05, 0.075, 0.1, 0.1]),
    ],
)
def test_a_warmup_begins_at_the_rate_before_scaling(
    rule: Rule, batch_size: int, expected: list[float]
) -> None:
    asked = Settings(
        data=Data(name="digits"),
        model=Model(name="mlp"),
        train=Train(batch_size=batch_size, lr=0.1, epochs=1),
        scaling=Scaling(rule=rule, base_batch_size=64, warmup_epochs=1),
    )
    lr = scaled_rates(asked, batch_size).lr
    start = warmup_start(asked, lr)
    found = [warmed_up(lr, step, 4, start) for step in range(1, 6)]
    assert found == pytest.approx(expected, rel=1e-12)
